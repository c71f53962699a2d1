import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.recipes import build
from holdfast.threats import Linf
from holdfast.training import train
from holdfast.training.examples import gathered
from holdfast.training.recipe import SampleSpec
from holdfast.training.sampling import matched, read_difficulty, sampled
from training.tiny import examples, network, recipe

DATA = examples(41)


def shares(data):
    return torch.bincount(data.labels, minlength=3)


def test_a_sample_is_a_part_with_the_indices_of_the_whole():
    found = sampled(DATA, SampleSpec(size=17), seed=3)
    assert len(found) == len(set(found.index.tolist())) == 17
    assert torch.equal(found.images, DATA.images[found.index])
    assert torch.equal(found.index, sampled(DATA, SampleSpec(size=17), seed=3).index)
    assert not torch.equal(found.index, sampled(DATA, SampleSpec(size=17), seed=4).index)
    assert sampled(DATA, None, seed=3) is DATA


def test_classes_keep_their_shares():
    found = sampled(DATA, SampleSpec(size=16, strata="class"), seed=0)
    assert ((shares(found) - shares(DATA) * 16 / 41).abs() < 1).all()
    assert int(shares(found).sum()) == 16
    plain = [shares(sampled(DATA, SampleSpec(size=16), seed=seed)) for seed in range(9)]
    assert len({tuple(each.tolist()) for each in plain}) > 1


def test_only_some_classes_are_kept():
    found = sampled(DATA, SampleSpec(classes=(0, 2)), seed=0)
    assert shares(found).tolist() == [int(shares(DATA)[0]), 0, int(shares(DATA)[2])]
    assert found.classes == 3
    part = sampled(DATA, SampleSpec(classes=(2,), size=5), seed=0)
    assert part.labels.tolist() == [2] * 5
    with pytest.raises(InputError, match="are no classes"):
        sampled(DATA, SampleSpec(classes=(3,)), seed=0)


def test_every_degree_of_difficulty_keeps_its_share(tmp_path):
    hardness = np.random.default_rng(0).permutation(60).astype(np.float32)
    np.save(tmp_path / "hard.npy", hardness)
    data = DATA.select(torch.arange(1, 41))
    spec = SampleSpec(size=10, strata="difficulty", difficulty=str(tmp_path / "hard.npy"), bins=5)
    found = sampled(data, spec, seed=1)
    own = np.sort(hardness[data.index])
    edges = own[[7, 15, 23, 31]]
    counts = np.bincount(np.searchsorted(edges, hardness[found.index]), minlength=5)
    assert counts.tolist() == [2] * 5


def test_difficulties_that_do_not_fit_are_refused(tmp_path):
    np.save(tmp_path / "short.npy", np.zeros(40))
    spec = SampleSpec(size=3, strata="difficulty", difficulty=str(tmp_path / "short.npy"))
    with pytest.raises(InputError, match=r"40 numbers.*do not reach example 40"):
        sampled(DATA, spec, seed=0)
    np.save(tmp_path / "square.npy", np.zeros((4, 4)))
    np.save(tmp_path / "broken.npy", np.full(41, np.nan))
    (tmp_path / "text.npy").write_text("1, 2")
    problems = {"square": "something else", "broken": "NaN", "text": "read", "none": "read"}
    for name, problem in problems.items():
        with pytest.raises(InputError, match=problem):
            read_difficulty(tmp_path / f"{name}.npy")


def test_a_sample_that_is_none_is_refused():
    with pytest.raises(InputError, match="makes no sample"):
        SampleSpec()
    with pytest.raises(InputError, match="does not fit strata = 'class'"):
        SampleSpec(size=3, strata="class", difficulty="hard.npy")
    with pytest.raises(InputError, match="does not fit strata = 'difficulty'"):
        SampleSpec(size=3, strata="difficulty")
    with pytest.raises(InputError, match=r"size=42: is above the 41 training examples"):
        sampled(DATA, SampleSpec(size=42), seed=0)


def test_examples_are_drawn_from_those_that_are_not_held_out():
    what = recipe(data={"validation": 6, "sample": {"size": 11}})
    found = gathered(what, examples(29), None, None, Linf(0.1))
    assert (len(found.training), len(found.held_out), found.whole) == (11, 6, 23)
    assert not set(found.training.index.tolist()) & set(found.held_out.index.tolist())
    what = recipe(data={"sample": {"size": 11}}, selection={"on": "train", "examples": 4})
    found = gathered(what, examples(29), None, None, Linf(0.1))
    assert set(found.held_out.index.tolist()) < set(found.training.index.tolist())


@pytest.mark.parametrize(("match", "epochs"), [("epochs", 2), ("steps", 5)])
def test_steps_or_epochs_are_held(match, epochs):
    what = recipe(data={"validation": 6, "sample": {"size": 10, "match": match}})
    result = train(what, data=examples(29), model=network(), device="cpu")
    assert len(result.history) == epochs  # 5 batches of an epoch of all 23, 2 of one of the sample
    assert result.steps == 2 * epochs
    assert matched(what, 23, 10).training.epochs == epochs


def test_steps_of_phases_are_not_matched():
    phases = [{"epochs": 2}]
    what = recipe(data={"sample": {"size": 9, "match": "steps"}}, training={"phases": phases})
    with pytest.raises(InputError, match="is not for phases"):
        matched(what, 23, 9)
    plain = recipe()
    assert matched(plain, 23, 23) is plain
    assert build(SampleSpec, {"size": 9, "classes": [1, 0]}).classes == (1, 0)
