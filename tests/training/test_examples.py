from dataclasses import replace

import pytest
import torch
from PIL import Image

from holdfast.core.errors import InputError
from holdfast.threats import Linf
from holdfast.training import mixing, train
from holdfast.training.examples import Examples, gathered, stretches
from training.test_loop import run_at, stopping, trained
from training.test_watch import ALONE
from training.tiny import examples, recipe, weights


def gather(what, data=None, validation=None):
    return gathered(what, examples(29) if data is None else data, validation, None, Linf(0.1))


@pytest.fixture
def more(monkeypatch):
    """A set of eleven further examples that can be loaded by name."""

    def load(name, split, data_dir=None):
        assert (name, split) == ("more", "train")
        return examples(11, seed=7)

    monkeypatch.setattr(mixing, "load_data", load)


def test_held_out_examples_are_disjoint_and_by_the_seed():
    found, again = gather(recipe()), gather(recipe())
    assert (len(found.training), len(found.held_out), found.extra) == (23, 6, None)
    assert not set(found.training.index.tolist()) & set(found.held_out.index.tolist())
    assert torch.equal(found.held_out.index, again.held_out.index)
    other = gather(replace(recipe(), seed=9))
    assert not torch.equal(found.held_out.index, other.held_out.index)
    assert found.hashes() == again.hashes() != other.hashes()


def test_where_training_points_choose_nothing_is_held_out():
    found = gather(recipe(selection={"on": "train", "examples": 7}))
    assert (len(found.training), len(found.held_out)) == (29, 7)
    assert found.held_out.index.tolist() == [0, 4, 8, 12, 16, 20, 24]
    given = gather(recipe(selection={"on": "train"}), validation=examples(4))
    assert len(given.held_out) == 4


def test_a_second_source_fills_its_share_of_every_batch(more):
    data = {"validation": 6, "extra": {"name": "more", "fraction": 0.4}}
    what = recipe(data=data)
    found = gather(what)
    (stretch,) = stretches(found, what, ALONE)
    assert stretch.batches.per_epoch == -(-23 // 3)
    batch = stretch.batches.batch(0, 0)
    assert [place < 23 for place in batch.places.tolist()] == [True] * 3 + [False] * 2
    assert "extra_data" in found.hashes()
    result = trained(what)
    assert result.steps == 2 * 8
    assert result.forwards == 2 * stretch.batches.examples


@pytest.mark.parametrize("objective", ["fgsm-rs", "free"])
def test_mixed_training_resumes_to_the_same_bits(tmp_path, objective, more):
    data = {"validation": 6, "extra": {"name": "more"}, "augment": ["flip"]}
    what = recipe(objective, data=data, training={"epochs": 2})
    whole = trained(what, log_every=1)
    run = run_at(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trained(what, run=run, on_event=stopping(9, KeyboardInterrupt), log_every=1)
    result = trained(what, run=run, resume=True, log_every=1)
    assert torch.equal(weights(whole.model), weights(result.model))


def test_phases_resize_and_cut_both_sources(more):
    phases = [{"epochs": 1, "resize": 3, "batch_size": 4}, {"epochs": 1}]
    data = {"validation": 6, "extra": {"name": "more"}}
    what = recipe(data=data, training={"phases": phases})
    small, large = stretches(gather(what), what, ALONE)
    assert small.batches.batch(0, 0).x.shape == (4, 2, 4, 3)
    assert large.batches.batch(1, 0).x.shape == (5, 2, 5, 4)
    phases[0]["crop"] = 2
    what = recipe(data=data, training={"phases": phases})
    cut = stretches(gather(what), what, ALONE)[0].batches.batch(0, 0)
    assert [place < 23 for place in cut.places.tolist()] == [True, True, False, False]
    assert cut.x.shape == (4, 2, 2, 2)
    whole = small.batches.batch(0, 0).x
    assert (cut.x.amin(dim=(1, 2, 3)) >= whole.amin(dim=(1, 2, 3)) - 1e-6).all()
    assert (cut.x.flatten(1).std(dim=1) > 0).all()
    plain = recipe(training={"phases": phases})
    alone = stretches(gather(plain), plain, ALONE)[0].batches.batch(0, 0)
    assert alone.x.shape == (4, 2, 2, 2)
    assert isinstance(gather(plain), Examples)


@pytest.fixture
def photographs(tmp_path):
    """Fifteen small images of two classes in files."""
    for row, (pixels, label) in enumerate(zip(*photos(15), strict=True)):
        folder = tmp_path / "images" / "train" / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.numpy()).save(folder / f"{row:02}.png")
    return tmp_path / "images"


def photos(count):
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 90, (count, 9, 8, 3), generator=generator)
    return (noise + 120 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels


PHASES = [
    {"epochs": 1, "resize": 6, "crop": 4, "batch_size": 6, "rates": [[0, 0.01], [1, 0.02]]},
    {"epochs": 1, "resize": 7, "crop": 5, "batch_size": 4},
    {"epochs": 1, "crop": 7, "batch_size": 3},
]


@pytest.mark.parametrize(
    "objective",
    ["fgsm-rs", pytest.param({"kind": "free", "replays": 2}, marks=pytest.mark.slow)],
    ids=["fgsm-rs", "free"],
)
def test_three_phases_from_files_train_the_bits_of_images_in_memory(photographs, objective):
    def result(**more):
        data = {"name": str(photographs), "validation": 3, "augment": ["flip"]} | more
        training = {"epochs": 3, "phases": PHASES}
        model = {"name": "resnet18", "options": {"width": 2}}
        what = recipe(objective, data=data, training=training, model=model)
        return train(what, device="cpu")

    kept, streamed = result(), result(stream=True)
    assert torch.equal(weights(kept.model), weights(streamed.model))
    assert kept.history[-1]["robust_accuracy"] == streamed.history[-1]["robust_accuracy"]
    assert kept.steps == streamed.steps


def test_only_streamed_images_are_cut_to_squares(photographs):
    what = recipe(data={"name": str(photographs), "validation": 3, "stream": True, "square": 5})
    found = gathered(what, None, None, None, Linf(0.1))
    assert found.training.shape == found.held_out.shape == (3, 5, 5)
    with pytest.raises(InputError, match="square=5: is for streamed images"):
        recipe(data={"square": 5})
