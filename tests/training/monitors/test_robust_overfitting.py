import pytest
import torch

from holdfast.attacks import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.accuracy import Accuracy
from holdfast.threats import Linf
from holdfast.training.monitors import RobustOverfitting
from holdfast.training.monitors.robust_overfitting import overfits, summarised
from holdfast.training.subsets import spread
from training.monitors.test_catastrophic import scene
from training.tiny import examples, network, weights

CURVE = [(0.6, 0.30), (0.4, 0.25), (0.45, 0.2), (0.5, 0.15), (0.55, 0.15), (0.5, 0.1), (0.6, 0.2)]


def test_best_final_and_their_difference():
    found = summarised(CURVE)
    assert (found["best"], found["best_look"], found["clean_at_best"]) == (0.4, 2, 0.25)
    assert found["final"] == pytest.approx((0.45 + 0.5 + 0.55 + 0.5 + 0.6) / 5)
    assert found["diff"] == pytest.approx(found["final"] - 0.4)
    assert found["final_std"] == pytest.approx(torch.tensor([0.45, 0.5, 0.55, 0.5, 0.6]).std())
    assert found["least_clean"] == 0.1
    assert found["final_clean"] == pytest.approx(0.16)


def test_an_improving_curve_ends_with_its_best():
    found = summarised([(0.5, 0.2)])
    assert (found["diff"], found["final_std"]) == (0.0, 0.0)


def test_overfitting_is_a_rise_above_the_noise_while_training_error_falls():
    rise = [(0.5, 0.2, 0.4), (0.4, 0.2, 0.35)]
    tail = [(0.55 + 0.002 * i, 0.2, 0.3 - 0.02 * i) for i in range(5)]
    assert overfits([*rise, *tail], 1000)
    assert not overfits([*rise, *tail], 20)  # of few examples the share is no better known
    assert not overfits([*rise, *tail[:4]], 1000)  # too soon to tell
    training = [(robust, clean, 0.5) for robust, clean, _ in tail]
    assert not overfits([*rise, *training], 1000)
    noisy = [(0.4 + 0.3 * (i % 2), 0.2, 0.1) for i in range(5)]
    assert not overfits([*rise, *noisy], 1000)


def test_errors_are_those_of_the_accuracies():
    net, held = network(), examples(9, seed=4)
    attack = PGD(steps=3, restarts=1, step_size="eps/4")
    monitor = RobustOverfitting(attack=attack, examples=7)
    before = weights(net)
    found = monitor.look(scene(net, Linf(0.1), validation=held), {})
    assert torch.equal(weights(net), before)
    part = spread(held, 7)
    keys = Keys.of(3, part.index).fold("robust-overfitting")
    measure = Accuracy(attack=attack)
    frozen = FrozenModel(net, block=128)
    sums = measure.update(frozen, part.inputs(), part.labels, Linf(0.1), keys=keys)
    assert found.figures["robust_error"] == 1 - measure.compute(sums).value
    assert found.figures["clean_error"] <= found.figures["robust_error"]
    assert found.figures["best"] == found.figures["final"] == found.figures["robust_error"]
    again = monitor.look(scene(net, Linf(0.1), validation=held), found.past)
    assert len(again.past["curve"]) == 2


def test_it_warns_once_and_can_stop():
    curve = [[0.4, 0.2, 0.9]] + [[0.99, 0.2, 0.8]] * 4
    there = scene(network(), Linf(0.4), validation=examples(40, seed=4))
    monitor = RobustOverfitting(attack=PGD(steps=3, restarts=1), action="stop")
    training = examples(11)
    found = monitor.look(there, {"curve": [[0.4, 0.2, 1.1], *curve[1:]], "warned": False})
    assert len(training) == 11
    assert found.action == "stop"
    assert "rose from 0.400" in found.warning
    again = monitor.look(there, found.past)
    assert (again.warning, again.action) == (None, "none")
