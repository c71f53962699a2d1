import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.nets import deep_net, inputs
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.regions.growing import (
    Growing,
    Region,
    finished,
    largest_multiple,
    largest_of_shape,
)
from holdfast.certify.spec import margin_rows
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.threats.balls import L2, Linf

INF = float("inf")
SHAPE = (3, 2)


def linear():
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 4)).double()
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(-1, 1.3, 24).sin().view(4, 6))
        model[1].bias.copy_(torch.linspace(0.2, -0.1, 4))
    return model


def problem(model=None, threat=None, **options):
    model = model or linear()
    x = inputs(5, SHAPE)
    y = model(x).argmax(1)
    options = {"bounds": Dual(), "elided": True, "delta": 1e-4} | options
    return Growing.of(model, x, y, threat or Linf(INF, box=None), **options)


def test_slack_of_a_linear_model_is_its_margin_less_the_dual_norm():
    mine = problem()
    radii = 0.05 + 0.1 * inputs(5, SHAPE, seed=4)
    rows = margin_rows(mine.y, 4).double() @ linear()[1].weight.detach()
    clean = torch.einsum("brk,bk->br", margin_rows(mine.y, 4).double(), linear()(mine.x))
    truth = clean - (rows.abs() * radii.flatten(1).unsqueeze(1)).sum(2) - mine.delta
    torch.testing.assert_close(mine.slack(radii), truth.detach(), atol=1e-4, rtol=0)
    assert (mine.slack(radii) <= truth + 1e-12).all()
    euclid = replace(mine, threat=L2(INF, box=None))
    truth = clean - (rows * radii.flatten(1).unsqueeze(1)).norm(dim=2) - mine.delta
    torch.testing.assert_close(euclid.slack(radii), truth.detach(), atol=1e-4, rtol=0)


def test_slack_has_the_gradient_of_its_differences():
    x = torch.tensor([[0.6, 0.2]]).double()
    mine = Growing.of(
        deep_net().double(),
        x,
        torch.tensor([0]),
        Linf(INF, box=None),
        bounds=CROWN(),
        elided=True,
        delta=1e-4,
    )
    radii = torch.tensor([[0.13, 0.07]]).double().requires_grad_()
    (gradient,) = torch.autograd.grad(mine.slack(radii).sum(), radii)
    for feature in range(2):
        step = torch.zeros_like(x)
        step[0, feature] = 1e-6
        ends = [float(mine.slack(radii.detach() + sign * step).detach().sum()) for sign in (1, -1)]
        assert gradient[0, feature] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-4)


def test_elided_margins_are_never_looser():
    radii = torch.full((5, *SHAPE), 0.1).double()
    assert (problem().margin(radii) >= problem(elided=False).margin(radii)).all()
    x = problem().x
    single = linear()[1].weight.detach()
    y = problem().y
    logits = linear()(x).detach()
    spread = 0.1 * single.abs().sum(1)
    worst = logits + spread
    worst[torch.arange(5), y] = -torch.inf
    truth = (logits - spread)[torch.arange(5), y] - worst.amax(1)
    torch.testing.assert_close(problem(elided=False).margin(radii), truth, atol=1e-4, rtol=0)


def test_the_largest_multiple_is_the_first_that_holds():
    mine = problem()
    radii = torch.full((5, *SHAPE), 3.0).double()
    found, margin, evaluated = largest_multiple(mine, radii, 0.9, 200)
    assert (margin >= mine.delta).all()
    torch.testing.assert_close(mine.margin(found), margin)
    assert (mine.margin(found / 0.9) < mine.delta).all()
    powers = (found[:, 0, 0] / 3.0).log() / math.log(0.9)
    torch.testing.assert_close(powers, powers.round())
    assert evaluated < 5 * 20


def test_what_holds_at_once_is_returned_as_it_is_and_what_never_does_is_zero():
    mine = problem()
    small = torch.full((5, *SHAPE), 1e-5).double()
    assert torch.equal(largest_multiple(mine, small, 0.9, 50)[0], small)
    huge = torch.full((5, *SHAPE), 1e3).double()
    found, margin, _ = largest_multiple(mine, huge, 0.9, 3)
    assert (found == 0).all()
    assert margin.isnan().all()


def test_the_largest_of_equal_radii_is_the_closed_form():
    mine = problem()
    rows = margin_rows(mine.y, 4).double() @ linear()[1].weight.detach()
    clean = torch.einsum("brk,bk->br", margin_rows(mine.y, 4).double(), linear()(mine.x))
    truth = ((clean - mine.delta) / rows.abs().sum(2)).amin(1).detach()
    found = largest_of_shape(mine, torch.ones_like(mine.x), 30)[:, 0, 0]
    torch.testing.assert_close(found, truth, rtol=2e-4, atol=2e-6)


def test_proportions_are_kept_and_caps_respected():
    shape = torch.tensor([[1.0, 2.0], [4.0, 1.0], [1.0, 0.5]]).double().expand(5, 3, 2)
    free = largest_of_shape(problem(), shape, 25)
    torch.testing.assert_close(free / free[:, :1, :1], shape.clone())
    low = problem(threat=Linf(float(free.max()) / 3, box=None))
    assert (largest_of_shape(low, shape, 25) <= low.cap).all()
    boxed = problem(threat=Linf(INF))
    assert (boxed.cap == 1).all()


def test_winners_are_strict():
    model = linear()
    with torch.no_grad():
        model[1].weight[1] = model[1].weight[0]
        model[1].bias[1] = model[1].bias[0]
    x = inputs(5, SHAPE)
    y = torch.tensor([0, 1, 2, 3, 0])
    found = Growing.of(model, x, y, Linf(1.0), bounds=Dual(), elided=True, delta=1e-4).winners()
    logits = model(x)
    others = logits.clone()
    others[torch.arange(5), y] = -torch.inf
    expected = (logits[torch.arange(5), y] > others.amax(1)).nonzero().squeeze(1)
    assert torch.equal(found, expected)
    assert not {0, 1, 4} & set(found.tolist())


def test_results_are_put_in_their_places():
    mine = problem()
    live = torch.tensor([3, 1])
    radii, margin = torch.ones(2, *SHAPE).double(), torch.tensor([0.5, torch.nan]).double()
    found = finished(mine, live, radii, margin, gradients=7, bounds=6)
    assert isinstance(found, Region)
    assert found.certified.tolist() == [False, False, False, True, False]
    assert (found.radii[[0, 2, 4]] == 0).all()
    assert found.cost == {"gradients": 7.0, "bounds": 3.0}
    assert found.sound


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="leaves a feature no room"):
        problem(threat=Linf(0.0))
    with pytest.raises(UnsupportedThreat, match="use a norm ball"):
        problem(threat=object())
