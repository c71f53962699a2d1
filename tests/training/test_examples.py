from dataclasses import replace

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.threats import Linf
from holdfast.training import mixing
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


def test_phases_resize_both_sources_and_do_not_cut_beside_a_second(more):
    phases = [{"epochs": 1, "resize": 3, "batch_size": 4}, {"epochs": 1}]
    data = {"validation": 6, "extra": {"name": "more"}}
    what = recipe(data=data, training={"phases": phases})
    small, large = stretches(gather(what), what, ALONE)
    assert small.batches.batch(0, 0).x.shape == (4, 2, 4, 3)
    assert large.batches.batch(1, 0).x.shape == (5, 2, 5, 4)
    phases[0]["crop"] = 3
    what = recipe(data=data, training={"phases": phases})
    with pytest.raises(InputError, match="crops, beside data"):
        stretches(gather(what), what, ALONE)
    plain = recipe(training={"phases": phases})
    cut = stretches(gather(plain), plain, ALONE)[0].batches.batch(0, 0)
    assert cut.x.shape == (4, 2, 3, 3)
    assert isinstance(gather(plain), Examples)
