import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.accuracy import Accuracy
from holdfast.models import load_model
from holdfast.threats import Linf
from holdfast.training.tuning import kept_epochs, tuning_curve
from training.test_loop import run_at, trained
from training.tiny import examples, network, recipe, weights


def test_pretrained_and_tuned_every_epoch_is_measured(tmp_path):
    first = trained(recipe("fgsm-rs"), run=run_at(tmp_path / "first"))
    model = {"name": "mlp", "options": {"hidden": [6]}, "weights": str(tmp_path / "first")}
    what = recipe("fgsm-rs", model=model, training={"epochs": 3, "keep_every": 1})
    second = trained(what, run=run_at(tmp_path / "second"), data=examples(31, seed=6))
    files = kept_epochs(run_at_again(tmp_path / "second"))
    assert list(files) == [0, 1, 2, 3]
    assert torch.equal(weights(load_model(files[0])[0]), weights(first.model))
    chosen = files[second.chosen_epoch]
    assert torch.equal(weights(load_model(chosen)[0]), weights(second.model))
    curve = tuning_curve(tmp_path / "second", examples(19, seed=8), attack="pgd-3-1", seed=4)
    assert [point.epoch for point in curve] == [0, 1, 2, 3]
    data = examples(19, seed=8)
    frozen = FrozenModel(load_model(files[2])[0], block=128)
    keys = Keys.of(4, data.index).fold("tuning")
    from holdfast.attacks.text import parse

    measure = Accuracy(attack=parse("pgd-3-1"))
    sums = measure.update(frozen, data.inputs(), data.labels, Linf(0.1), keys=keys)
    assert curve[2].robust == measure.compute(sums).value
    assert curve[2].clean >= curve[2].robust
    clean = tuning_curve(tmp_path / "second", data)
    assert [point.robust for point in clean] == [None] * 4
    assert [point.clean for point in clean] == [point.clean for point in curve]


def run_at_again(path):
    from holdfast.runs import Run

    return Run.open(path)


def test_weights_without_an_architecture_want_a_model(tmp_path):
    what = recipe(training={"keep_every": 2})
    trained(what, run=run_at(tmp_path / "run"), model=network())
    with pytest.raises(InputError, match="records no architecture"):
        tuning_curve(tmp_path / "run", examples(7))
    curve = tuning_curve(tmp_path / "run", examples(7), model=network(seed=4))
    assert [point.epoch for point in curve] == [0, 2]


def test_a_run_that_kept_nothing_is_refused(tmp_path):
    trained(run=run_at(tmp_path / "run"))
    with pytest.raises(InputError, match="kept no weights of its epochs"):
        tuning_curve(tmp_path / "run", examples(7))
    what = recipe(training={"keep_every": 1})
    trained(what, run=run_at(tmp_path / "other"))
    with pytest.raises(InputError, match="names 2 attacks"):
        tuning_curve(tmp_path / "other", examples(7), attack="fgsm,pgd-2-1")
