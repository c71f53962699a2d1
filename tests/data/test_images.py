import dataclasses
import hashlib

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.images import ImageData, cut


def made(rows=11, scale=255, device=None):
    return ImageData(
        images=(torch.arange(rows * 2 * 7 * 6) * 37 % (scale + 1))
        .to(torch.uint8)
        .view(-1, 2, 7, 6),
        labels=torch.arange(rows) % 5,
        index=torch.arange(rows),
        classes=5,
        names=tuple("abcde"),
        name="made",
        split="test",
        scale=scale,
    )


@pytest.mark.parametrize("scale", [16, 255])
def test_inputs_are_levels_over_the_scale(scale):
    data = made(scale=scale)
    x = data.inputs([3, 0])
    assert x.dtype == torch.float32
    assert torch.equal(x, data.images[[3, 0]].float() / scale)
    assert data.inputs().amax() == 1.0
    assert data.inputs().amin() == 0.0


def test_inputs_of_floats_are_the_floats():
    floats = dataclasses.replace(made(), images=torch.rand(11, 4), scale=1)
    assert torch.equal(floats.inputs([2, 5]), floats.images[[2, 5]])


def test_index_survives_select_after_select_and_limit():
    data = made()
    rows = torch.tensor([9, 2, 7, 4])
    twice = data.select(rows).select([2, 0]).first(1)
    assert twice.index.tolist() == [7]
    assert torch.equal(twice.images[0], data.images[7])
    assert twice.labels.tolist() == [7 % 5]
    mask = data.labels == 3
    assert data.select(mask).index.tolist() == [3, 8]
    assert data.select(slice(2, 9, 3)).index.tolist() == [2, 5, 8]
    assert len(data.select([])) == 0


def test_content_hash_is_of_the_content_alone():
    data = made()
    assert data.content_hash() == made().content_hash()
    assert dataclasses.replace(data, name="other").content_hash() == data.content_hash()
    assert len(data.content_hash()) == len(hashlib.sha256().hexdigest())
    changed = data.images.clone()
    changed[10, 1, 6, 5] ^= 1
    others = [
        dataclasses.replace(data, images=changed),
        dataclasses.replace(data, labels=(data.labels + 1) % 5),
        dataclasses.replace(data, index=data.index + 1),
        dataclasses.replace(data, scale=128),
        data.select(torch.arange(10, -1, -1)),
        data.first(10),
    ]
    hashes = {each.content_hash() for each in [data, *others]}
    assert len(hashes) == 7


def test_content_hash_is_computed_once(monkeypatch):
    data = made()
    first = data.content_hash()
    monkeypatch.setattr(hashlib, "sha256", None)
    assert data.content_hash() == first


def test_batches_cover_the_epoch_in_a_keyed_order():
    data = made()
    plain = list(data.batches(4))
    assert [len(y) for _, y, _ in plain] == [4, 4, 3]
    assert torch.cat([index for *_, index in plain]).tolist() == list(range(11))

    def order(**options):
        return torch.cat([i for *_, i in data.batches(4, shuffle=True, **options)]).tolist()

    assert sorted(order(seed=1, epoch=2)) == list(range(11))
    assert order(seed=1, epoch=2) == order(seed=1, epoch=2)
    assert order(seed=1, epoch=2) != order(seed=1, epoch=3)
    assert order(seed=1, epoch=2) != order(seed=2, epoch=2)
    assert order(seed=1, epoch=2)[8:] == order(seed=1, epoch=2, start=2)
    assert order(seed=1, epoch=2, drop_last=True) == order(seed=1, epoch=2)[:8]


def test_a_batch_holds_its_examples():
    data = made().select([8, 3, 10, 1, 6])
    for x, y, index in data.batches(2, shuffle=True, seed=3):
        assert torch.equal(x, made().inputs(index))
        assert torch.equal(y, index % 5)


@pytest.mark.parametrize("rows", [[11], [-1], [0.5], [[1]], torch.ones(3, dtype=torch.bool)])
def test_rows_that_are_not_there_are_refused(rows):
    with pytest.raises(InputError, match="rows="):
        made().select(rows)


@pytest.mark.parametrize("limit", [0, 12, -2, True, 2.5])
def test_a_bad_limit_is_refused(limit):
    with pytest.raises(InputError, match="limit="):
        made().first(limit)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": torch.zeros(10, dtype=torch.int64)},
        {"labels": torch.zeros(11)},
        {"index": torch.zeros(12, dtype=torch.int64)},
        {"names": ("a", "b")},
        {"images": torch.zeros(11, 2, dtype=torch.float64)},
    ],
)
def test_columns_that_do_not_fit_are_refused(change):
    with pytest.raises(InputError):
        dataclasses.replace(made(), **change)


def test_bad_batches_are_refused():
    with pytest.raises(InputError, match="batch_size=0"):
        list(made().batches(0))
    with pytest.raises(InputError, match="start=-1"):
        cut(torch.arange(3), 2, start=-1)


def test_title_and_device():
    data = made().to("cpu")
    assert (data.title, data.shape, data.device.type) == ("made", (2, 7, 6), "cpu")
    assert repr(data) == "ImageData(made test: 11 x uint8 (2, 7, 6), 5 classes)"
