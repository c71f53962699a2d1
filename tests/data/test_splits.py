import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.images import ImageData
from holdfast.data.splits import epoch_order, split, stratified, train_validation


@pytest.mark.parametrize("sizes", [{"counts": (5, 11, 7)}, {"fractions": (0.2, 0.5, 0.3)}])
def test_parts_are_disjoint_and_cover(sizes):
    parts = split(23, seed=4, **sizes)
    assert torch.cat(parts).sort().values.tolist() == list(range(23))
    assert all(torch.equal(part, part.sort().values) for part in parts)


def test_sizes():
    assert [len(part) for part in split(23, seed=0, counts=(5, 18))] == [5, 18]
    assert [len(part) for part in split(7, seed=0, fractions=(1 / 3, 1 / 3, 1 / 3))] == [2, 3, 2]
    assert [len(part) for part in split(4, seed=0, counts=(4, 0))] == [4, 0]


def test_parts_depend_on_the_seed_only():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = split(40, seed=0, counts=(20, 20))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again, other = split(40, seed=0, counts=(20, 20)), split(40, seed=1, counts=(20, 20))
    assert torch.equal(one[0], again[0])
    assert not torch.equal(one[0], other[0])


def test_parts_are_drawn_evenly():
    # Over 400 seeds, each of 10 rows is held out 120 times on average, sd 9.2: 5 sd on each side.
    held = torch.zeros(10)
    for seed in range(400):
        held[split(10, seed=seed, counts=(3, 7))[0]] += 1
    assert ((held - 120).abs() < 46).all()


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"counts": (5, 5), "fractions": (0.5, 0.5)},
        {"counts": (5, 6)},
        {"counts": (12, -2)},
        {"fractions": (0.5, 0.6)},
        {"fractions": (1.5, -0.5)},
        {"fractions": ()},
    ],
)
def test_bad_sizes_are_refused(sizes):
    with pytest.raises(InputError):
        split(10, seed=0, **sizes)


def data(rows):
    return ImageData(
        images=torch.zeros(rows, 2),
        labels=torch.zeros(rows, dtype=torch.int64),
        index=torch.arange(rows) + 100,
        classes=2,
        names=("a", "b"),
        name="made",
        split="train",
        scale=1,
    )


@pytest.mark.parametrize(("validation", "held"), [(30, 30), (0.1, 12)])
def test_train_validation(validation, held):
    train, chosen = train_validation(data(120), validation=validation, seed=5)
    assert (len(train), len(chosen)) == (120 - held, held)
    together = torch.cat([train.index, chosen.index]).sort().values
    assert together.tolist() == list(range(100, 220))
    assert torch.equal(
        train_validation(data(120), validation=validation, seed=5)[1].index, chosen.index
    )


def test_the_published_part_is_1000_of_50000():
    whole = data(50_000)
    (train, chosen), (_, again) = (train_validation(whole, validation=1000, seed=0) for _ in "ab")
    assert (len(train), len(chosen)) == (49_000, 1000)
    held, rest = set(chosen.index.tolist()), set(train.index.tolist())
    assert not held & rest
    assert len(held | rest) == 50_000
    assert torch.equal(chosen.index, again.index)


@pytest.mark.parametrize("validation", [0, 120, 1000, -1, 2.5, 0.001])
def test_a_validation_part_that_leaves_nothing_is_refused(validation):
    with pytest.raises(InputError, match="validation="):
        train_validation(data(120), validation=validation)


def test_epoch_orders_differ():
    orders = {tuple(epoch_order(9, seed=0, epoch=epoch).tolist()) for epoch in range(5)}
    assert len(orders) == 5
    assert all(sorted(order) == list(range(9)) for order in orders)


def test_strata_keep_their_shares_and_no_row_is_taken_twice():
    strata = torch.tensor([0] * 50 + [1] * 31 + [7] * 19)
    for count in (1, 10, 33, 99, 100):
        rows = stratified(strata, count, seed=2)
        assert len(rows.unique()) == count
        assert torch.equal(rows, rows.sort().values)
        taken = torch.bincount(strata[rows], minlength=8)[[0, 1, 7]]
        assert ((taken - torch.tensor([50, 31, 19]) * count / 100).abs() < 1).all()
    assert not torch.equal(stratified(strata, 10, seed=2), stratified(strata, 10, seed=3))
    for count in (0, 101):
        with pytest.raises(InputError, match="is no part of 100 rows"):
            stratified(strata, count, seed=0)


def test_every_row_is_as_likely_to_be_drawn():
    strata = torch.tensor([0, 1] * 5)
    counts = torch.zeros(10)
    for seed in range(400):
        counts[stratified(strata, 4, seed=seed)] += 1
    assert ((counts / 400 - 0.4).abs() < 0.1).all()  # 4 deviations each, one false alarm in 1,600
