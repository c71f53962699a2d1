import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from holdfast.core.errors import InputError
from holdfast.data.adapt import as_data
from holdfast.data.load import load_data

X = torch.arange(5 * 2 * 7 * 6, dtype=torch.float32).view(5, 2, 7, 6) / 420
Y = torch.tensor([2, 0, 1, 2, 0])


class Pairs(Dataset):
    classes = ["cat", "dog", "fox", "hen"]

    def __init__(self, rows=5):
        self.rows = rows
        self.read = []

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        self.read.append(row)
        return X[row], int(Y[row])


class Stream(IterableDataset):
    def __iter__(self):
        return iter((X[row].numpy(), Y[row]) for row in range(5))


@pytest.mark.parametrize(
    "obj",
    [
        (X, Y),
        [X.double(), Y.to(torch.uint8)],
        (X.numpy(), Y.numpy()),
        (X.numpy().astype(np.float64)[:, :, ::1], [2, 0, 1, 2, 0]),
        TensorDataset(X, Y),
        Pairs(),
        Stream(),
        DataLoader(TensorDataset(X, Y), batch_size=2),
        DataLoader(Pairs(), batch_size=3),
        (X.clone(), Y.tolist()),
    ],
)
def test_every_kind_gives_the_same_data(obj):
    data = as_data(obj)
    assert torch.equal(data.inputs(), X)
    assert torch.equal(data.labels, Y)
    assert data.index.tolist() == [0, 1, 2, 3, 4]
    assert data.content_hash() == as_data((X, Y)).content_hash()
    limited = as_data(obj, limit=3)
    assert torch.equal(limited.inputs(), X[:3])


def test_names_of_classes_are_taken_from_the_dataset():
    assert as_data(Pairs()).names == ("cat", "dog", "fox", "hen")
    assert as_data(DataLoader(Pairs())).classes == 4
    assert as_data((X, Y)).names == ("0", "1", "2")
    assert as_data((X, Y), classes=6).classes == 6
    assert as_data((X, Y * 0)).classes == 2
    assert as_data((X, Y.flip(0)), limit=1).classes == 3


def test_names_and_paths_and_image_data(tmp_path):
    digits = as_data("digits", limit=4, split="train")
    assert (digits.name, digits.split, len(digits)) == ("digits", "train", 4)
    again = as_data(digits.select([3, 1]), limit=1)
    assert again.index.tolist() == digits.index[3:].tolist()
    assert (again.name, again.scale) == ("digits", 16)
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert torch.equal(as_data(tmp_path / "a.npz").inputs(), X)


def test_bytes_are_levels_of_255():
    levels = torch.randint(0, 256, (5, 3, 7, 6), dtype=torch.uint8, generator=torch.Generator())
    data = as_data((levels, Y))
    assert torch.equal(data.inputs(), levels.float() / 255)
    last = as_data((levels.permute(0, 2, 3, 1).numpy(), Y.numpy()))
    assert last.content_hash() == data.content_hash()


def test_reading_stops_at_the_limit():
    pairs = Pairs()
    as_data(pairs, limit=2)
    assert pairs.read == [0, 1]


def test_a_loader_leaves_the_global_generator_as_it_was():
    state = torch.get_rng_state()
    as_data(DataLoader(TensorDataset(X, Y), shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_shuffled_loader_is_taken_in_its_order():
    order = DataLoader(
        TensorDataset(X, Y), shuffle=True, generator=torch.Generator().manual_seed(3)
    )
    data = as_data(order)
    assert data.index.tolist() == [0, 1, 2, 3, 4]
    assert not torch.equal(data.inputs(), X)


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ((X * 3 - 1, Y), "normalisation"),
        ((X * 255, Y), "divide by 255"),
        ((X.masked_fill(X == 0, float("nan")), Y), "holds NaN"),
        ((X, Y[:4]), "does not fit 5 inputs"),
        ((X, Y - 1), "is negative"),
        ((X, Y.float()), "is not whole numbers"),
        ((X[:0], Y[:0]), "is empty"),
        ((X, Y, Y), "3 items: are not a pair"),
        ((X.to(torch.complex64), Y), "is not float"),
        ((X.numpy().astype(object), Y), "is not numbers"),
        ((np.array(["a"] * 5), Y), "is not numbers"),
        (TensorDataset(X), "1 items: are not a pair"),
        (DataLoader(X), "are not pairs of input and label"),
        (DataLoader(TensorDataset(X, Y, Y)), "are not pairs"),
        (Pairs(0), "is empty"),
        (42, "int: is no kind of data"),
        (None, "NoneType: is no kind of data"),
        ([(X[0, :, :6], 0), (X[1], 1), (X[2], 1)], "3 items"),
        (TensorDataset(X, torch.stack([Y, Y], 1)), "argmax"),
    ],
)
@pytest.mark.parametrize("limit", [None, 2])
def test_bad_data_are_refused_in_one_line(obj, said, limit):
    with pytest.raises(InputError, match=said) as caught:
        as_data(obj, limit=limit)
    assert "\n" not in str(caught.value)


class Uneven(Pairs):
    def __getitem__(self, row):
        return (X[row] if row < 3 else X[row, :, :4]), 0


def test_inputs_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="after 3 examples: differs from the first"):
        as_data(Uneven())


def test_other_boxes():
    assert as_data((X * 4 - 2, Y), box=(-2, 2)).scale == 1
    assert as_data((X * 1000, Y), box=None).inputs().amax() > 900
    with pytest.raises(InputError, match=r"outside \[0, 0.5\]"):
        as_data((X, Y), box=(0, 0.5))
    with pytest.raises(InputError, match=r"box=.*does not hold images"):
        as_data(load_data("digits", limit=2), box=(-1, 0.5))


@pytest.mark.parametrize("limit", [0, -1, 6, "3"])
def test_a_bad_limit_is_refused(limit):
    for obj in ((X, Y), Pairs(), DataLoader(Pairs())):
        with pytest.raises(InputError, match="limit="):
            as_data(obj, limit=limit)


def test_too_few_classes_are_refused():
    with pytest.raises(InputError, match="label 2 of example 0: is not one of 2 classes"):
        as_data((X, Y), classes=2)
