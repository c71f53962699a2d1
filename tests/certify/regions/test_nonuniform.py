import math
from dataclasses import replace

import pytest
import torch

from certify.nets import small_net
from certify.regions import INF, two_classes
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.radii.radius import Bisection
from holdfast.certify.regions.nonuniform import NonUniform, _gap
from holdfast.certify.regions.volumes import mean_radius
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent
from holdfast.threats.balls import L1, L2, Linf

QUICK = NonUniform(step_size=0.003, gradient_cap=10.0, steps=160, growth_every=32)


@pytest.mark.parametrize(("ball", "near"), [(Linf, 0.95), (L2, 0.7), (L1, 0.3)])
def test_radii_of_a_linear_model_approach_the_closed_form(ball, near):
    model, x, y, push, margin = two_classes()
    q = dual_exponent(ball.p)
    best = (margin - QUICK.delta)[:, None] / (5 ** (1 / q) * push.abs())
    found = QUICK.region(model, x, y, ball(INF, box=None))
    ratio = mean_radius(found.radii) / mean_radius(best)
    assert found.certified.all()
    assert (ratio <= 1 + 1e-5).all()
    assert (ratio > near).all()


@pytest.mark.parametrize("ball", [Linf, L2, L1])
def test_the_uniform_variant_finds_the_closed_form(ball):
    model, x, y, push, margin = two_classes()
    truth = (margin - QUICK.delta) / torch.linalg.vector_norm(
        push, ord=dual_exponent(ball.p), dim=1
    )
    uniform = replace(QUICK, shape="uniform")
    found = uniform.region(model, x, y, ball(INF, box=None))
    assert (found.radii == found.radii[:, :1]).all()
    assert ((found.radii[:, 0] / truth) <= 1 + 1e-5).all()
    assert ((found.radii[:, 0] / truth) > 0.98).all()


def test_without_elision_the_closed_form_has_the_weights_of_both_logits():
    model, x, y, _, margin = two_classes()
    sizes = model.weight.detach().abs().sum(0)
    method = replace(QUICK, elided=False)
    best = (margin - method.delta)[:, None] / (5 * sizes)
    found = method.region(model, x, y, Linf(INF, box=None))
    ratio = mean_radius(found.radii) / mean_radius(best)
    assert (ratio <= 1 + 1e-5).all()
    assert (ratio > 0.9).all()


def test_the_slack_is_the_best_of_all():
    """Eq. 3.11: c = max(0, d + lambda / rho) is the least of lambda (d - c) + rho / 2 (d - c)^2
    over c >= 0, and lambda, which begins at zero, never becomes positive."""
    slack, rho = torch.linspace(-1.5, 2, 8).double().unsqueeze(1), 3.0
    multipliers = torch.tensor([-2.5, -0.4, 0.0]).double()
    gap = _gap(slack, multipliers, rho)
    torch.testing.assert_close(gap, slack - (slack + multipliers / rho).clamp_min(0))
    c = torch.linspace(0, 4, 40001).double().view(-1, 1, 1)
    tried = (multipliers * (slack - c) + rho / 2 * (slack - c).square()).amin(0)
    best = multipliers * gap + rho / 2 * gap.square()
    torch.testing.assert_close(best, tried, atol=1e-7, rtol=0)
    assert (multipliers + rho * gap <= 0).all()


@pytest.mark.parametrize("ball", [Linf, pytest.param(L2, marks=pytest.mark.slow)])
def test_the_uniform_variant_ends_where_bisection_does(ball):
    """With the same bounds, on a network of ReLUs."""
    x = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.9, 0.2]]).double()
    model = small_net().double()
    y = model(x).argmax(1)
    halved = Bisection(method=Dual()).find(model, x, y, ball(2.0, box=None)).radius
    method = replace(QUICK, shape="uniform", optimizer="adam", step_size=0.01)
    found = method.region(model, x, y, ball(INF, box=None)).radii[:, 0]
    assert (found <= halved + 1e-4).all()
    assert (found > 0.97 * halved).all()


@pytest.mark.parametrize("bounds", [Dual(), CROWN()])
def test_sampled_points_of_the_regions_keep_their_class(bounds):
    model = small_net()
    x = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.9, 0.2]])
    y = model(x).argmax(1)
    found = NonUniform(bounds=bounds, steps=60).region(model, x, y, Linf(1.0, box=None))
    assert found.sound
    turns = Keys.of(2, range(400)).uniform((2,), low=-1.0, high=1.0)
    turns[:100] = turns[:100].sign()
    points = x.unsqueeze(1) + turns * found.radii.unsqueeze(1)
    inside = model(points.flatten(0, 1)).argmax(1).view(3, -1)
    assert found.certified.any()
    assert (inside == y.unsqueeze(1))[found.certified].all()
    assert found.threat.contains(points[:, 0], x).all()


def test_wrong_inputs_get_no_region_and_others_do_not_notice():
    model, x, y, _, _ = two_classes()
    threat = Linf(INF, box=None)
    method = NonUniform(steps=40)
    whole = method.region(model, x, torch.stack([y[0], 1 - y[1], y[2]]), threat)
    assert whole.certified.tolist() == [True, False, True]
    assert (whole.radii[1] == 0).all()
    alone = method.region(model, x[2:], y[2:], threat)
    torch.testing.assert_close(whole.radii[2:], alone.radii, rtol=1e-9, atol=0)
    none = method.region(model, x, 1 - y, threat)
    assert not none.certified.any()


def test_radii_stay_below_the_threats_and_a_cap_stops_features_without_influence():
    model, x, y, _, _ = two_classes()
    with torch.no_grad():
        model.weight[:, 2] = 0
    found = QUICK.region(model, x, y, Linf(0.5, box=None))
    assert (found.radii <= 0.5).all()
    assert (found.radii[:, 2] > 0.3).all()


def test_the_gradient_can_be_cut_and_a_run_away_optimiser_is_not_trusted():
    model, x, y, _, _ = two_classes()
    wild = NonUniform(step_size=100.0, steps=20).region(model, x, y, Linf(INF, box=None))
    assert not wild.certified.any() or (wild.margin[wild.certified] > 0).all()
    calm = NonUniform(gradient_cap=1.0, steps=20).region(model, x, y, Linf(INF, box=None))
    assert calm.certified.all()
    moved = (calm.radii.sqrt() - math.sqrt(0.001)).flatten(1).norm(dim=1)
    assert (moved <= 20 * 0.001 + 1e-9).all()


def test_it_begins_where_it_is_told():
    model, x, y, _, _ = two_classes()
    start = torch.full_like(x, 0.004)
    found = NonUniform(steps=1, step_size=1e-9).region(
        model, x, y, Linf(INF, box=None), start=start
    )
    torch.testing.assert_close(found.radii, start, rtol=1e-4, atol=0)
