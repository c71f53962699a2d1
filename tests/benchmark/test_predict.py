"""Predictions are upper bounds on what an evaluation really takes."""

import pytest

from holdfast.attacks import FGSM, PGD
from holdfast.attacks.text import as_attacks
from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.predict import cost, predict
from holdfast.core.errors import InputError
from holdfast.data.adapt import as_data
from holdfast.threats import Linf
from nets import examples, small_net


@pytest.mark.parametrize("radius", [0.0005, 0.02])
def test_an_evaluation_takes_no_more_than_was_predicted(radius):
    net = small_net()
    data = as_data(examples(29, net, wrong=4))
    names, radii = "fgsm,pgd-5-3", [radius / 2, radius * 2]
    found = evaluate(net, data, Linf(radius), attacks=names, radii=radii, block=8)
    most = predict(
        net, data, attacks=as_attacks(names).items(), bounds=["interval"], radii=radii, block=8
    )
    assert found.result["forwards"] <= most.forwards
    assert found.result["backwards"] <= most.backwards
    assert most.examples == 29
    assert most.to_dict()["forwards"] == most.forwards


def test_passes_are_counted_by_stage():
    net = small_net()
    data = as_data(examples(7, net))
    found = predict(net, data, attacks=[("pgd", PGD(steps=4, restarts=3))], block=5)
    assert [(s.stage, s.forwards, s.backwards) for s in found.stages] == [
        ("clean", 7, 0),
        ("pgd", 7 * (3 * 5 + 2), 7 * 12),
    ]


def test_costs_of_attacks():
    assert cost(FGSM(), 5) == (4, 1)
    assert cost(PGD(steps=4, restarts=2, targeting="multi"), 5) == (8 * 5 + 2, 32)


def test_seconds_and_memory_are_positive_and_follow_the_passes():
    net = small_net()
    data = as_data(examples(7, net))
    found = predict(net, data, attacks=[("pgd", PGD(steps=4, restarts=3))], block=5)
    timed = found.forwards * found.forward_seconds + found.backwards * found.backward_seconds
    assert found.seconds == pytest.approx(timed)
    assert found.forward_seconds > 0
    assert found.memory > 2 * 4 * 7 * 84


def test_a_model_without_logits_is_refused():
    data = as_data(examples(7, small_net()))
    with pytest.raises(InputError, match="does not fit"):
        predict(lambda x: x, data, attacks=[], block=5)
