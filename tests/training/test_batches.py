import pytest
import torch
from PIL import Image

from holdfast.data import Augment, Flip, PadCrop
from holdfast.data.streaming import stream_folder
from holdfast.training.batches import Batches
from holdfast.training.distributed import World
from training.tiny import examples

CPU = torch.device("cpu")


def batches(data, rank=0, size=1, **options):
    options = {"seed": 4, "augment": Augment()} | options
    return Batches(data, 7, world=World(rank, size, CPU), **options)


def test_an_epoch_shows_every_example_once_in_an_order_of_its_own():
    data = examples(23)
    made = batches(data)
    assert made.per_epoch == 4
    orders = []
    for epoch in (0, 1):
        parts = [made.batch(epoch, number) for number in range(4)]
        assert [part.rows for part in parts] == [7, 7, 7, 2]
        seen = torch.cat([part.x for part in parts])
        assert torch.equal(
            seen.flatten(1).sum(1).sort()[0], data.inputs().flatten(1).sum(1).sort()[0]
        )
        orders.append(seen)
    assert not torch.equal(*orders)


def test_any_batch_can_be_made_without_those_before():
    data = examples(23)
    augment = Augment(steps=(PadCrop(padding=1), Flip()))
    first = batches(data, augment=augment)
    for number in range(3):
        expected = first.batch(1, number)
    alone = batches(data, augment=augment).batch(1, 2)
    assert torch.equal(alone.x, expected.x)
    assert torch.equal(alone.keys.state, expected.keys.state)


def shown(made, epoch):
    """What an epoch shows of each example, in the order of the examples' sums before."""
    parts = [made.batch(epoch, number) for number in range(made.per_epoch)]
    plain = [batches(made.data).batch(epoch, number) for number in range(made.per_epoch)]
    order = torch.cat([part.x for part in plain]).flatten(1).double().sum(1).argsort()
    keys = torch.cat([part.keys.state for part in parts])
    return torch.cat([part.x for part in parts])[order], keys[order]


def test_augmentation_and_keys_are_functions_of_example_and_epoch():
    augment, data = Augment(steps=(PadCrop(padding=2),)), examples(9)
    backwards = data.select(torch.arange(8, -1, -1))
    first, first_keys = shown(batches(data, augment=augment), 3)
    for_all, keys = shown(batches(backwards, augment=augment), 3)
    assert torch.equal(first, for_all)
    assert torch.equal(first_keys, keys)
    later, later_keys = shown(batches(data, augment=augment), 4)
    assert not torch.equal(first, later)
    assert not (first_keys == later_keys).any()


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_share_a_batch_without_overlap(size):
    data = examples(22)
    whole = batches(data)
    for number in range(whole.per_epoch):
        all_rows = whole.batch(0, number)
        parts = [batches(data, rank, size).batch(0, number) for rank in range(size)]
        assert sum(part.rows for part in parts) == all_rows.rows
        assert sum(part.factor for part in parts) == pytest.approx(size)
        kept = torch.cat([part.x[: part.rows] for part in parts]).flatten(1).sum(1).sort()[0]
        assert torch.equal(kept, all_rows.x.flatten(1).sum(1).sort()[0])
    assert parts[-1].factor == 0  # one example left: the other ranks stand by


def test_images_may_be_channels_last():
    part = batches(examples(9), channels_last=True).batch(0, 0)
    assert part.x.is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def streamed(tmp_path):
    """Eleven small images in files, streamed, and how often each was read."""
    generator, read = torch.Generator().manual_seed(0), []
    for row in range(11):
        pixels = torch.randint(0, 256, (5, 4, 3), generator=generator, dtype=torch.uint8)
        (tmp_path / "ab"[row % 2]).mkdir(exist_ok=True)
        Image.fromarray(pixels.numpy()).save(tmp_path / "ab"[row % 2] / f"{row:02}.png")
    data = stream_folder(tmp_path)

    class Counting(type(data.images.source)):
        def __getitem__(self, row):
            read.append(row)
            return super().__getitem__(row)

    data.images.source.__class__ = Counting
    return data, read


def test_batches_of_files_are_those_of_images_in_memory(streamed):
    data, _ = streamed
    options = {"augment": Augment(steps=(PadCrop(padding=1), Flip())), "crop": 3}
    kept = batches(data.loaded(), **options)
    for made in (batches(data, **options), batches(data, channels_last=True, **options)):
        for epoch, number in ((0, 0), (0, 1), (2, 1), (2, 0)):
            one, other = made.batch(epoch, number), kept.batch(epoch, number)
            assert torch.equal(one.x, other.x)
            assert torch.equal(one.y, other.y)
            assert torch.equal(one.keys.state, other.keys.state)


def test_files_are_read_ahead_and_once_per_epoch_also_when_a_batch_is_replayed(streamed):
    data, read = streamed
    made = Batches(data, 2, seed=4, augment=Augment(), world=World(0, 1, CPU))
    made.batch(0, 0)
    made.batch(0, 0)
    assert made._ahead._coming.keys() == {(0, 1), (0, 2)}
    for number in range(made.per_epoch):
        for _ in range(3):
            made.batch(0, number)
    assert sorted(read) == list(range(11))
    made.batch(1, 3)
    assert made._ahead._coming.keys() == {(1, 4), (1, 5)}
    made.batch(0, 5)
    assert not made._ahead._coming
    part = Batches(data, 5, seed=4, augment=Augment(), world=World(1, 2, CPU)).batch(0, 0)
    assert part.x.shape == (2, 3, 5, 4)
