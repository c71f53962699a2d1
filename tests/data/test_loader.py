import threading
import time

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.folder import StreamedFolder
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.data.loader import Prefetch

from .conftest import colours, write_folder


class Counted:
    """Examples whose pixels tell their row; slow for some rows, broken for one."""

    scale = 16

    def __init__(self, rows=23, broken=None, delay=0.0):
        self.rows, self.broken, self.delay = rows, broken, delay
        self.lock, self.asked = threading.Lock(), 0

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        with self.lock:
            self.asked += 1
        if row == self.broken:
            raise InputError("data", row, "is broken", "repair it")
        if row % 5 == 0:
            time.sleep(self.delay)
        return torch.full((2, 3), row % 17, dtype=torch.uint8), row % 4


def alive():
    return [each for each in threading.enumerate() if each.name.startswith("holdfast-data")]


def read(loader, **options):
    return torch.cat([index for *_, index in loader.batches(**options)]).tolist()


def test_batches_hold_their_examples():
    loader = Prefetch(source=Counted(), batch_size=4, shuffle=True, workers=3)
    batches = list(loader.batches(1))
    assert len(batches) == len(loader) == 6
    for x, y, index in batches:
        assert torch.equal(x[:, 0, 0], (index % 17).float() / 16)
        assert torch.equal(y, index % 4)
    assert batches[0][0].dtype == torch.float32


@pytest.mark.parametrize("workers", [1, 4])
def test_the_order_is_that_of_seed_and_epoch_however_slow_a_thread_is(workers):
    options = {"source": Counted(delay=0.002), "batch_size": 4, "shuffle": True, "workers": workers}
    order = read(Prefetch(seed=7, **options), epoch=2)
    memory = ImageData(
        images=torch.zeros(23, 1),
        labels=torch.zeros(23, dtype=torch.int64),
        index=torch.arange(23),
        classes=2,
        names=("a", "b"),
        name="made",
        split="train",
        scale=1,
    )
    same = memory.batches(4, seed=7, epoch=2, shuffle=True)
    assert order == torch.cat([index for *_, index in same]).tolist()
    assert sorted(order) == list(range(23))
    assert order != read(Prefetch(seed=7, **options), epoch=3)
    assert order[8:] == read(Prefetch(seed=7, **options), epoch=2, start=2)
    assert order[:20] == read(Prefetch(seed=7, drop_last=True, **options), epoch=2)
    assert read(Prefetch(source=Counted(), batch_size=4)) == list(range(23))


def test_a_shard_keeps_the_rows_of_the_source():
    shard = torch.tensor([3, 8, 13, 18, 21])
    loader = Prefetch(source=Counted(), batch_size=2, rows=shard, shuffle=True)
    assert sorted(read(loader)) == shard.tolist()
    assert len(loader) == 3


def test_an_exception_is_raised_in_its_place():
    loader = Prefetch(source=Counted(broken=9), batch_size=4, workers=3, ahead=5)
    batches = loader.batches()
    assert [next(batches)[2].tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(InputError, match="data=9: is broken"):
        next(batches)
    assert not alive()


def test_no_thread_is_left_when_the_reader_gives_up():
    batches = Prefetch(source=Counted(500), batch_size=2, workers=3).batches()
    next(batches)
    assert alive()
    batches.close()
    assert not alive()


def test_what_is_under_way_is_bounded():
    source = Counted(1000)
    batches = Prefetch(source=source, batch_size=5, workers=2, ahead=3).batches()
    next(batches)
    time.sleep(0.1)
    assert source.asked <= 5 * (1 + 3)
    batches.close()


def test_a_streamed_folder_equals_the_loaded_one(tmp_path):
    pixels = colours(6)
    write_folder(tmp_path, {f"{name}/{i}.png": pixels[i] for i, name in enumerate("abcabc")})
    data = load_data(tmp_path)
    loader = Prefetch(source=StreamedFolder(tmp_path), batch_size=4, shuffle=True, seed=2)
    for ours, theirs in zip(
        loader.batches(3), data.batches(4, shuffle=True, seed=2, epoch=3), strict=True
    ):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    "change", [{"batch_size": 0}, {"workers": 0}, {"ahead": 0}, {"rows": torch.tensor([23])}]
)
def test_bad_numbers_are_refused(change):
    with pytest.raises(InputError):
        Prefetch(**({"source": Counted(), "batch_size": 4} | change))
