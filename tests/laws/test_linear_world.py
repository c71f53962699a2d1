"""certified <= exact <= attacked <= clean, where the exact answer is known in closed form."""

import pytest
import torch

from holdfast.attacks import FGSM, PGD
from holdfast.benchmark.evaluate import evaluate
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.spec import margin_rows
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.adapt import as_data
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld

BALLS = [Linf(0.04, box=None), L2(0.12, box=None), L1(0.25, box=None), Linf(0.04), L2(0.12)]


def world():
    toy = LinearWorld.make(seed=2, classes=5, features=11)
    x, y = toy.sample(seed=3, count=60)
    return toy, x, y


@pytest.mark.parametrize("threat", BALLS, ids=str)
def test_bounds_exact_answer_and_attacks_are_in_order(threat):
    toy, x, y = world()
    exact = toy.exact_margin(x, y, threat.p, float(threat.radius))  # data lie well inside the box
    model = toy.module()
    lower = Interval().bound(model, x, threat, margin_rows(y, 5)).lower.amin(dim=1)
    attack = PGD(steps=30, restarts=3)
    frozen = FrozenModel(model, block=16)
    result = attack.run(frozen, x, y, threat, keys=Keys.of(0, range(60)))
    assert bool((lower <= exact + 1e-9).all())
    assert bool((exact <= result.margin + 1e-5).all())
    assert 0 < int(result.success.sum()) < 60


@pytest.mark.parametrize("threat", BALLS, ids=str)
def test_bounds_are_tight_on_a_linear_model(threat):
    # Interval bounds with the support function are exact on a linear map, for every ball; with the
    # hull they are exact for Linf. Tolerances widen the set by 1e-6.
    toy, x, y = world()
    exact = toy.exact_margin(x, y, threat.p, float(threat.radius))
    method = Interval(first_layer="support")
    lower = method.bound(toy.module(), x, threat, margin_rows(y, 5)).lower.amin(dim=1)
    assert torch.allclose(lower, exact, atol=2e-4)


@pytest.mark.parametrize("threat", BALLS[:3], ids=str)
def test_multi_targeted_one_step_attains_the_exact_margin(threat):
    toy, x, y = world()
    exact = toy.exact_margin(x, y, threat.p, float(threat.radius))
    attack = PGD(steps=1, restarts=1, start="clean", step_size="eps", targeting="multi")
    from holdfast.core.recipes import build, to_dict

    attack = build(PGD, to_dict(attack) | {"loss": "margin"})
    frozen = FrozenModel(toy.module(), block=16)
    result = attack.run(frozen, x, y, threat, keys=Keys.of(0, range(60)))
    standing = ~result.success
    assert torch.equal(result.success, exact <= 0)
    assert torch.allclose(result.margin[standing].double(), exact[standing], atol=1e-5)


def test_evaluation_brackets_the_exact_accuracy_at_every_radius():
    toy, x, y = world()
    radii = [0.01, 0.02, 0.03, 0.05, 0.08]
    answer = evaluate(
        toy.module(), as_data((x, y)), Linf(0.04), attacks="fgsm,pgd-10-2", radii=radii, block=16
    )
    for point in answer.result["radii"]:
        exact = toy.robust_accuracy(x, y, float("inf"), point["radius"])
        assert point["certified_accuracy"] <= exact + 1e-12
        assert exact <= point["robust_accuracy"] + 1e-12
        assert point["robust_accuracy"] <= answer.clean_accuracy
    robust = [p["robust_accuracy"] for p in answer.result["radii"]]
    proved = [p["certified_accuracy"] for p in answer.result["radii"]]
    assert robust == sorted(robust, reverse=True)
    assert proved == sorted(proved, reverse=True)
    # One layer: intervals are exact, and no margin of these examples is within the tolerance.
    exact = [toy.robust_accuracy(x, y, float("inf"), p["radius"]) for p in answer.result["radii"]]
    assert proved == pytest.approx(exact, abs=1e-9)


def test_fgsm_equals_the_closed_form_of_two_classes():
    toy = LinearWorld.make(seed=5, classes=2, features=7)
    x, y = toy.sample(seed=1, count=50)
    frozen = FrozenModel(toy.module(), block=16)
    result = FGSM().run(frozen, x, y, Linf(0.06, box=None), keys=Keys.of(0, range(50)))
    exact = toy.robust_accuracy(x, y, float("inf"), 0.06)
    assert float((~result.success).float().mean()) == pytest.approx(exact, abs=1e-6)
