from dataclasses import replace

import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data import Augment, Flip, PadCrop
from holdfast.training.batches import Batches
from holdfast.training.distributed import World
from holdfast.training.mixing import MixedBatches, fitted, load_extra
from training.tiny import examples

CPU = torch.device("cpu")
LABELLED, EXTRA = examples(23), examples(41, seed=1)
CROP = Augment(steps=(PadCrop(padding=1), Flip()))


def batches(rank=0, size=1, *, data=LABELLED, extra=EXTRA, count=8, **options):
    options = {"seed": 4, "augment": Augment()} | options
    return MixedBatches(data, extra, count, world=World(rank, size, CPU), **options)


def epoch_of(made, epoch):
    return [made.batch(epoch, number) for number in range(made.per_epoch)]


@pytest.mark.parametrize(
    ("fraction", "labelled", "sizes"),
    [(0.5, 4, [8, 8, 8, 8, 8, 6]), (0.7, 2, [8] * 11 + [4]), (0.25, 6, [8, 8, 8, 7])],
)
def test_every_batch_has_the_same_share_of_both(fraction, labelled, sizes):
    made = batches(fraction=fraction)
    parts = epoch_of(made, 0)
    assert [part.rows for part in parts] == sizes
    assert [made.rows(number) for number in range(made.per_epoch)] == sizes
    assert sum(sizes) == made.examples
    for part in parts[:-1]:
        assert int((part.places < len(LABELLED)).sum()) == labelled
    own = [int((part.places < len(LABELLED)).sum()) for part in parts]
    assert sum(own) == len(LABELLED)  # an epoch is a pass over the labelled ones


def test_half_of_128_are_labelled_by_default():
    data, extra = examples(130), examples(50, seed=2)
    made = MixedBatches(data, extra, 128, seed=0, augment=Augment(), world=World(0, 1, CPU))
    assert made.per_epoch == 3
    assert (made.batch(0, 0).places < 130).tolist() == [True] * 64 + [False] * 64


@pytest.mark.parametrize("crop", [None, 3])
def test_labelled_examples_are_shown_as_without_the_others(crop):
    mixed = batches(augment=CROP, crop=crop)
    plain = Batches(LABELLED, 4, seed=4, augment=CROP, world=World(0, 1, CPU), crop=crop)
    for number in range(mixed.per_epoch):
        a, b = mixed.batch(2, number), plain.batch(2, number)
        count = len(b.y)
        assert torch.equal(a.x[:count], b.x)
        assert torch.equal(a.y[:count], b.y)
        assert torch.equal(a.places[:count], b.places)
        assert torch.equal(a.keys.state[:count], b.keys.state)


def test_no_extra_example_comes_again_before_all_were_shown():
    made, stream, keys = batches(), [], []
    for epoch in range(5):
        for part in epoch_of(made, epoch):
            extra = part.places >= len(LABELLED)
            stream += (part.places[extra] - len(LABELLED)).tolist()
            keys += part.keys.state[extra].tolist()
    size = len(EXTRA)
    passes = [stream[i : i + size] for i in range(0, len(stream) - size + 1, size)]
    assert len(passes) == 2
    assert all(sorted(each) == list(range(size)) for each in passes)
    assert passes[0] != passes[1]
    assert len(set(keys)) == len(keys)


def test_places_and_labels_are_those_of_the_sources():
    made = batches()
    part = made.batch(1, 2)
    x = torch.cat([LABELLED.inputs(), EXTRA.inputs()])
    y = torch.cat([LABELLED.labels, EXTRA.labels])
    assert made.count == len(x)
    assert torch.equal(part.x, x[part.places])
    assert torch.equal(part.y, y[part.places])


def test_any_batch_can_be_made_without_those_before():
    first = batches(augment=CROP)
    for epoch in range(3):
        for part in epoch_of(first, epoch):
            expected = part
    alone = batches(augment=CROP).batch(2, first.per_epoch - 1)
    assert torch.equal(alone.x, expected.x)
    assert torch.equal(alone.keys.state, expected.keys.state)


def test_an_extra_set_may_be_smaller_than_a_batch():
    made = batches(extra=examples(3, seed=1), fraction=0.75)
    part = made.batch(0, 0)
    assert part.rows == 8
    assert len(set(part.keys.state.tolist())) == 8  # shown twice, it is augmented twice


@pytest.mark.parametrize("size", [2, 3, 5])
def test_ranks_share_a_batch_without_overlap(size):
    whole = batches(augment=CROP)
    for number in range(whole.per_epoch):
        expected = whole.batch(1, number)
        parts = [batches(rank, size, augment=CROP).batch(1, number) for rank in range(size)]
        assert sum(part.rows for part in parts) == expected.rows
        assert sum(part.factor for part in parts) == pytest.approx(size)
        for name in ("places", "y"):
            found = torch.cat([getattr(part, name)[: part.rows] for part in parts])
            assert torch.equal(found.sort()[0], getattr(expected, name).sort()[0])
        states = torch.cat([part.keys.state[: part.rows] for part in parts]).sort()[0]
        assert torch.equal(states, expected.keys.state.sort()[0])


def test_a_stand_in_counts_for_nothing():
    data = examples(5)
    part = batches(4, 5, data=data, count=2).batch(0, 0)  # one labelled and one extra example
    assert (part.rows, part.factor, len(part.y)) == (0, 0.0, 1)
    assert torch.equal(part.x, data.inputs(part.places))


def test_extra_examples_come_from_a_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 5, 4), dtype=np.uint8)
    np.savez(tmp_path / "pseudo.npz", x=images, y=np.array([0, 1, 2, 2, 1, 0]))
    grey = replace(LABELLED, images=LABELLED.images[:, :1])
    extra = load_extra(tmp_path / "pseudo.npz", grey)
    assert torch.equal(extra.images, torch.from_numpy(images)[:, None])
    assert extra.labels.tolist() == [0, 1, 2, 2, 1, 0]
    assert extra.classes == grey.classes
    assert batches(data=grey, extra=extra).batch(0, 0).x.shape == (8, 1, 5, 4)


def test_named_classes_are_matched_by_name():
    data = replace(LABELLED, names=("frog", "ape", "cat"))
    extra = replace(EXTRA, names=("ape", "cat", "frog"))
    moved = torch.tensor([1, 2, 0])[extra.labels]
    assert torch.equal(fitted(extra, data).labels, moved)
    numbered = fitted(EXTRA, data)
    assert torch.equal(numbered.labels, EXTRA.labels)
    assert numbered.names == data.names


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        (replace(EXTRA, names=("a", "b", "c")), "no classes"),
        (replace(EXTRA, images=EXTRA.images[:, :1]), r"shape \(1, 5, 4\)"),
        (EXTRA.select([]), "0 inputs"),
        (replace(examples(9, classes=7), names=tuple("0123456")), "labels from"),
    ],
)
def test_sources_that_do_not_fit_are_refused(extra, text):
    with pytest.raises(InputError, match=text):
        fitted(extra, LABELLED)


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.99, 1.0])
def test_a_share_that_leaves_a_source_out_is_refused(fraction):
    with pytest.raises(InputError, match="leaves a source out"):
        batches(fraction=fraction)
