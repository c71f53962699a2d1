import threading

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.load import load_data
from holdfast.data.splits import train_validation
from holdfast.data.streaming import Decoding, scaled, stream_folder

from .conftest import colours, write_folder

PIXELS = colours(7, 9, 8)


@pytest.fixture
def pets(tmp_path):
    names = [f"train/{'cat' if i % 3 else 'dog'}/{i}.png" for i in range(7)]
    write_folder(tmp_path, dict(zip(names, PIXELS, strict=True)))
    return tmp_path


def test_streamed_examples_are_those_in_memory(pets):
    streamed, kept = stream_folder(pets, "train"), load_data(pets, "train")
    assert repr(streamed) == repr(kept)
    assert torch.equal(streamed.labels, kept.labels)
    assert torch.equal(streamed.index, kept.index)
    rows = torch.tensor([5, 0, 5])
    assert torch.equal(streamed.inputs(rows), kept.inputs(rows))
    assert torch.equal(streamed.inputs(), kept.inputs())
    assert torch.equal(streamed.loaded().images, kept.images)
    assert type(streamed.loaded()) is type(kept.loaded()) is type(kept)
    for one, other in zip(streamed.batches(3), kept.batches(3), strict=True):
        assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_parts_are_taken_without_reading_a_file(pets, monkeypatch):
    streamed, kept = stream_folder(pets, "train"), load_data(pets, "train")
    with monkeypatch.context() as patch:
        patch.setattr("holdfast.data.folder.decode", None)
        rest, held = train_validation(streamed, validation=2, seed=5)
        first = rest.first(3).to("cpu").select(torch.tensor([True, False, True]))
        assert (len(rest), len(held), len(first)) == (5, 2, 2)
    want, _ = train_validation(kept, validation=2, seed=5)
    assert torch.equal(rest.inputs(), want.inputs())
    assert torch.equal(first.inputs(), want.inputs([0, 2]))
    assert torch.equal(first.index, want.index[[0, 2]])


def test_images_are_resized_as_they_are_decoded(pets):
    small = stream_folder(pets, "train").resized((4, 5)).resized((3, 6))
    assert small.shape == (3, 3, 6)
    whole = load_data(pets, "train").images
    assert torch.equal(small.images[:], scaled(scaled(whole, (4, 5)), (3, 6)))
    assert small.images[:].dtype == torch.uint8


def test_images_of_different_sizes_become_squares(tmp_path):
    write_folder(tmp_path, {"a/1.png": colours(1, 20, 30)[0], "b/2.png": colours(1, 25, 18)[0]})
    with pytest.raises(InputError, match="is 25x18, the first image 20x30"):
        stream_folder(tmp_path).inputs()
    data = stream_folder(tmp_path, square=8)
    assert data.inputs().shape == (2, 3, 8, 8)
    assert (data.classes, data.names) == (2, ("a", "b"))
    assert stream_folder(tmp_path, square=8, limit=1).classes == 2
    with pytest.raises(InputError, match="limit=3"):
        stream_folder(tmp_path, limit=3)


def test_the_content_is_that_of_the_files_and_their_treatment(pets):
    data = stream_folder(pets, "train")
    assert data.content_hash() == stream_folder(pets, "train").content_hash()
    others = [data.first(6), data.resized((4, 4)), stream_folder(pets, "train", square=9)]
    (pets / "train" / "dog" / "9.png").write_bytes((pets / "train/dog/0.png").read_bytes())
    others.append(stream_folder(pets, "train"))
    assert len({each.content_hash() for each in (data, *others)}) == 5


def test_a_broken_file_is_named_when_it_is_due(pets):
    (pets / "train" / "dog" / "3.png").write_bytes(b"no image")
    data = stream_folder(pets, "train")
    row = data.images.source.files.index((pets / "train" / "dog" / "3.png", 1))
    begun = data.images.begin([row])
    with pytest.raises(InputError, match=r"3\.png"):
        begun.result()
    assert data.inputs([row - 1]).shape == (1, 3, 9, 8)


def test_what_has_not_begun_can_be_given_up(pets):
    data = stream_folder(pets, "train")
    pool = [data.images.begin(torch.arange(7)) for _ in range(3)]
    pool[0].cancel()
    assert pool[2].result().shape == (7, 3, 9, 8)
    assert isinstance(pool[1], Decoding)
    names = {each.name.split("_")[0] for each in threading.enumerate()}
    assert "holdfast-decode" in names


def test_only_images_are_scaled():
    assert scaled(torch.zeros(2, 1, 4, 4), (4, 4)).shape == (2, 1, 4, 4)
    with pytest.raises(InputError, match="is no batch of images"):
        scaled(torch.zeros(3, 4), (2, 2))
