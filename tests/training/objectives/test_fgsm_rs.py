import math

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from holdfast.training.objectives import FGSMRS, PGDAT
from training.tiny import examples, network

EPS = 0.1


def linear_world(features=4000):
    """A linear model whose gradient has no zero, and the direction in which its loss rises."""
    model = nn.Linear(features, 2)
    sign = torch.where(torch.arange(features) % 3 == 0, 1.0, -1.0)
    with torch.no_grad():
        model.weight.copy_(torch.stack([-sign, sign]) * 0.01)
        model.bias.zero_()
    return model, torch.full((3, features), 0.5), torch.zeros(3, dtype=torch.int64), sign


@pytest.mark.parametrize("start", ["uniform", "ball"])
@pytest.mark.parametrize("factor", [0.5, 1.0, 1.25, 2.0])
def test_moments_of_the_perturbation_are_those_of_the_theory(factor, start):
    model, x, y, sign = linear_world()
    objective = FGSMRS(start=start, step_size=factor * EPS)
    keys = Keys.of(0, range(3))
    threat = Linf(EPS, box=None)
    delta = objective.loss(model, x, y, threat, progress=0.5, keys=keys).x_adv - x
    share = (delta * sign).mean() / EPS
    boundary = (delta.abs() >= EPS * (1 - 1e-5)).float().mean()
    # 12,000 independent coordinates: five standard errors, one false alarm in a million
    slack = 5 / math.sqrt(delta.numel())
    assert share == pytest.approx(factor - factor**2 / 4, abs=slack * 0.6)
    assert boundary == pytest.approx(factor / 2, abs=slack * 0.5)
    a = factor
    square = (delta / EPS).square().mean()
    if a >= 1:
        assert square == pytest.approx(a / 2 + (1 - (a - 1) ** 3) / 6, abs=slack)


@pytest.mark.parametrize("start", ["uniform", "ball"])
@pytest.mark.parametrize("step", ["2*eps", "3*eps"])
def test_a_step_of_two_radii_ends_on_corners_whatever_the_start(start, step):
    model, x, y, sign = linear_world(700)
    objective, keys = FGSMRS(start=start, step_size=step), Keys.of(0, range(3))
    result = objective.loss(model, x, y, Linf(EPS, box=None), progress=0.5, keys=keys)
    assert torch.allclose(result.x_adv, x + EPS * sign, atol=1e-7)


@pytest.mark.parametrize("start", ["uniform", "ball", "zero"])
def test_coordinates_without_gradient_and_steps_that_vanish_leave_the_start(start):
    model, x, y, sign = linear_world(60)
    with torch.no_grad():
        model.weight[:, 20:] = 0
    keys, threat = Keys.of(0, range(3)), Linf(EPS, box=None)
    begun = x if start == "zero" else threat.sample(x, keys=keys.fold(0).fold("start"))
    moved, still = (
        FGSMRS(start=start, step_size=a).loss(model, x, y, threat, progress=0.5, keys=keys).x_adv
        for a in ("eps", 1e-9)
    )
    assert torch.equal(moved[:, 20:], begun[:, 20:])
    assert bool(((moved - begun) * sign)[:, :20].gt(0).all())
    assert torch.allclose(still, begun, atol=1e-7)


def test_the_default_step_is_the_published_one_of_each_start():
    assert [FGSMRS(start=s).step for s in ("uniform", "ball", "previous", "zero", "corner")] == [
        "1.25*eps",
        "1.25*eps",
        "eps",
        "eps",
        "eps/2",
    ]


def test_corners_end_on_minus_eps_zero_or_eps():
    model, x, y, _ = linear_world(500)
    objective = FGSMRS(start="corner")
    delta = objective.loss(model, x, y, Linf(EPS, box=None), progress=0.0).x_adv - x
    units = (delta / EPS).round()
    assert torch.allclose(delta, units * EPS, atol=1e-6)
    assert sorted(set(units.flatten().tolist())) == [-1, 0, 1]


def test_zero_start_is_fgsm_and_attains_the_worst_case_of_a_linear_model():
    model, x, y, sign = linear_world(300)
    result = FGSMRS(start="zero").loss(model, x, y, Linf(EPS, box=None), progress=0.0)
    assert torch.allclose(result.x_adv, x + EPS * sign)
    margin = model(x)[:, 0] - model(x)[:, 1] - 2 * EPS * 0.01 * 300
    worst = nn.functional.softplus(-margin).mean()
    assert result.loss.item() == pytest.approx(worst.item(), rel=1e-5)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.7)])
def test_uniform_start_is_pgd_of_one_step(threat):
    model, data = network(), examples(7)
    keys = Keys.of(5, data.index)
    args = (model, data.inputs(), data.labels, threat)
    fast = FGSMRS(step_size="1.25*eps").loss(*args, progress=0.1, keys=keys)
    attack = PGD(steps=1, restarts=1, step_size="1.25*eps")
    slow = PGDAT(attack=attack).loss(*args, progress=0.1, keys=keys)
    assert torch.equal(fast.x_adv, slow.x_adv)
    assert torch.equal(fast.loss, slow.loss)


def test_previous_start_goes_on_from_the_batch_before():
    model, data = network(), examples(12)
    x, y, threat = data.inputs(), data.labels, Linf(0.1)
    objective = FGSMRS(start="previous", step_size=0.04)
    first = objective.loss(model, x[:5], y[:5], threat, progress=0.0)
    plain = FGSMRS(start="zero", step_size=0.04).loss(model, x[:5], y[:5], threat, progress=0.0)
    assert torch.equal(first.x_adv, plain.x_adv)
    second = objective.loss(model, x[5:8], y[5:8], threat, progress=0.0, state=first.state)
    start = threat.project(x[5:8] + first.state["previous"][:3], x[5:8])
    assert ((second.x_adv - start).abs() <= 0.04 + 1e-6).all()
    assert not torch.equal(second.x_adv, plain.x_adv[:3])
    kept = second.state["previous"]
    assert len(kept) == 5
    assert torch.equal(kept[3:], first.state["previous"][3:])
    assert torch.equal(kept[:3], second.x_adv - x[5:8])


def test_at_the_border_of_the_box_only_the_unclipped_start_fills_the_ball():
    model, x, y, sign = linear_world(2000)
    x, threat = torch.zeros_like(x), Linf(EPS)
    inside = {}
    for start in ("uniform", "ball"):
        result = FGSMRS(start=start).loss(model, x, y, threat, progress=0.0)
        up = result.x_adv[:, sign > 0] / EPS
        inside[start] = ((up > 0.01) & (up < 0.99)).float().mean().item()
        assert threat.contains(result.x_adv, x).all()
    assert inside["uniform"] == 0
    # d0 + 1.25 eps stays below eps for d0 < -eps/4: 3/8 of the ball, less the bands cut above
    assert inside["ball"] == pytest.approx(0.375 - 0.005, abs=0.03)


def test_the_unclipped_start_needs_a_ball():
    model, data = network(), examples(4)

    class Set:
        pass

    with pytest.raises(UnsupportedThreat, match="Set is no norm ball without its box"):
        FGSMRS(start="ball").loss(model, data.inputs(), data.labels, Set(), progress=0.0)


def test_what_is_trained_on_lies_in_the_threat():
    model, data = network(), examples(9)
    x, y = data.inputs(), data.labels
    for start in ("uniform", "ball", "previous", "zero", "corner"):
        result = FGSMRS(start=start).loss(model, x, y, Linf(0.3), progress=0.0)
        assert Linf(0.3).contains(result.x_adv, x).all()


def test_a_step_that_is_none_is_refused():
    with pytest.raises(InputError, match="step_size"):
        FGSMRS(step_size="1.25 radii")
