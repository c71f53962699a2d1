"""The checks of an evaluation: what they cost, and that the curve reaches every input."""

import math

import pytest
import torch
from torch import nn

from holdfast.benchmark.checks import Checks, _far
from holdfast.benchmark.protocol import Listed
from holdfast.core.frozen import FrozenModel
from holdfast.core.ledger import Ledger
from holdfast.data.adapt import as_data
from holdfast.losses.margin import margin
from holdfast.models import InputQuantised
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


def checked(net, threat, count=9):
    x, y = examples(count, small_net())
    data = as_data((x, y))
    frozen = FrozenModel(net, block=4)
    ledger = Ledger(data.index, data.labels)
    with frozen, torch.no_grad():
        logits = frozen.logits(x)
        ledger.take_clean(torch.arange(count), y, torch.ones(count), margin(logits, y))
        frozen.passes.forwards = frozen.passes.backwards = 0
        checks = Checks(frozen, data, threat, 0)
        checks.of_model(ledger, Listed(()))
    return checks, frozen


@pytest.mark.parametrize("threat", [Linf(0.02), L2(0.2), L1(2.0)])
def test_an_honest_model_raises_nothing_and_falls_in_the_end(threat):
    checks, _ = checked(small_net(), threat)
    assert checks.found == []
    assert checks.sanity["radii"][0] == 0.0
    assert checks.sanity["radii"][-1] == pytest.approx(_far(threat, 84))
    assert checks.sanity["robust"][-1] == 0.0
    assert checks.sanity["margins"] == sorted(checks.sanity["margins"], reverse=True)


def test_hidden_gradients_raise_both_the_gradient_and_the_curve():
    checks, _ = checked(InputQuantised(small_net(), levels=2), Linf(0.02))
    codes = [flag.code for flag in checks.found]
    assert codes == ["zero-gradients", "stands-everywhere"]
    assert len(checks.found[0].examples) == 4


def test_passes_are_those_of_the_model_and_of_the_curve():
    checks, frozen = checked(small_net(), Linf(0.02))
    passes = frozen.passes
    assert 2 * 4 < checks.report["backwards"] <= passes.backwards
    assert 5 * 4 < checks.report["forwards"] <= passes.forwards + passes.padding


@pytest.mark.parametrize(
    ("threat", "far"), [(Linf(0.1, box=(-1.0, 1.0)), 2.0), (L2(0.1), math.sqrt(84)), (L1(1.0), 84)]
)
def test_the_last_radius_joins_any_two_inputs(threat, far):
    assert _far(threat, 84) == pytest.approx(far)


def test_without_a_box_or_with_radii_of_their_own_there_is_no_curve():
    for threat in (Linf(0.1, box=None), Linf(torch.linspace(0.1, 0.2, 9)), Linf(0.0)):
        checks, _ = checked(small_net(), threat)
        assert checks.sanity is None


def test_steps_raise_square_classes_and_the_pilot():
    checks, _ = checked(small_net(), Linf(0.02))
    rows = [
        {"name": "apgd-t", "robust_accuracy": 0.9, "backwards": 5},
        {"name": "square", "robust_accuracy": 0.7, "backwards": 0},
        {"name": "square-200", "robust_accuracy": 0.9, "backwards": 0},
    ]
    checks.of_steps(rows, 5, {"pilot": {"tried": 8, "fell": 3}})
    codes = [flag.code for flag in checks.found]
    assert codes == ["classes", "square-improves", "masked-gradients"]


def test_models_that_take_any_callable():
    checks, _ = checked(nn.Sequential(small_net()).forward, Linf(0.02))
    assert checks.found == []
