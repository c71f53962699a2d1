import pytest
import torch
from torch import nn

from certify.nets import small_net
from certify.regions import INF, two_classes
from holdfast.certify.bounds.linear import CROWN, Dual
from holdfast.certify.regions.equal_shares import EqualShares
from holdfast.certify.regions.growing import Growing
from holdfast.certify.regions.volumes import mean_radius
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent
from holdfast.threats.balls import L1, L2, Linf


@pytest.mark.parametrize("ball", [Linf, L2])
def test_radii_of_a_linear_model_are_the_closed_form(ball):
    model, x, y, push, margin = two_classes()
    method = EqualShares()
    best = (margin - method.delta)[:, None] / (5 ** (1 / dual_exponent(ball.p)) * push.abs())
    found = method.region(model, x, y, ball(INF, box=None))
    assert found.certified.all()
    assert (found.radii <= best * 1.01).all()
    assert (found.radii >= best * 0.985).all()
    assert (mean_radius(found.radii) <= mean_radius(best)).all()


@pytest.mark.parametrize("ball", [Linf, L2])
def test_a_linear_model_gains_the_ratio_of_means(ball):
    """||w||_q / (M^(1/q) geomean |w|), which is at least one."""
    model, x, y, push, _ = two_classes()
    q = dual_exponent(ball.p)
    wanted = torch.linalg.vector_norm(push, ord=q, dim=1) / (5 ** (1 / q) * mean_radius(push.abs()))
    own, uniform = (
        EqualShares(steps=steps).region(model, x, y, ball(INF, box=None)).radii for steps in (60, 1)
    )
    torch.testing.assert_close(mean_radius(own) / mean_radius(uniform), wanted, rtol=0.02, atol=0)
    assert (wanted > 1.05).all()


@pytest.mark.parametrize(
    ("bounds", "threat"),
    [
        (Dual(), Linf(INF, box=None)),
        (CROWN(), L2(INF, box=None)),
        (Dual(), Linf(0.7)),
        pytest.param(CROWN(), Linf(INF, box=None), marks=pytest.mark.slow),
        pytest.param(Dual(), L2(INF, box=None), marks=pytest.mark.slow),
        pytest.param(CROWN(), Linf(0.7), marks=pytest.mark.slow),
    ],
)
def test_regions_are_at_least_as_large_as_the_uniform_ones_and_keep_the_class(bounds, threat):
    model = small_net()
    x = torch.tensor([[0.5, 0.5], [0.1, 0.9], [0.9, 0.2]])
    y = model(x).argmax(1)
    found = EqualShares(bounds=bounds, steps=25).region(model, x, y, threat)
    uniform = EqualShares(bounds=bounds, steps=1).region(model, x, y, threat)
    assert found.certified.all()
    assert (mean_radius(found.radii) >= 0.999 * mean_radius(uniform.radii)).all()
    directions = Keys.of(2, range(400)).uniform((2,), low=-1.0, high=1.0)
    size = threat.at(torch.ones(1, 2)).size(directions, torch.zeros(400, 2))
    directions = directions / size.unsqueeze(1)
    points = x.unsqueeze(1) + directions * found.radii.unsqueeze(1)
    points = points if threat.box is None else points.clamp(*threat.box)
    inside = model(points.flatten(0, 1)).argmax(1).view(3, -1)
    assert (inside == y.unsqueeze(1)).all()


def test_several_margins_share_the_region():
    """Three classes whose margins see other features: no one of them decides alone."""
    weight = torch.tensor([[1.0, 1.0, 1.0], [-1.0, 1.0, 0.8], [1.0, -1.0, 0.9]]).double()
    model = nn.Linear(3, 3).double()
    with torch.no_grad():
        model.weight.copy_(weight)
        model.bias.zero_()
    x, y = torch.tensor([[1.0, 1.0, 0.5]]).double(), torch.tensor([0])
    found = EqualShares(steps=200).region(model, x, y, Linf(INF, box=None))
    push = weight[0] - weight[1:]
    best = _best_by_search(push.abs(), (push @ x[0]) - 1e-4)
    assert float(mean_radius(found.radii)) == pytest.approx(best, rel=0.01)


def _best_by_search(costs, margins):
    """The largest geometric mean under costs @ radii <= margins, over weights of the two rows."""
    best = 0.0
    for share in torch.linspace(0.001, 0.999, 999).double():
        radii = 1 / (share * costs[0] + (1 - share) * costs[1])
        radii = radii * float((margins / (costs @ radii)).min())
        best = max(best, float(radii.log().mean().exp()))
    return best


def test_an_input_does_not_depend_on_its_neighbours():
    model, x, y, _, _ = two_classes()
    method, threat = EqualShares(steps=10), Linf(INF, box=None)
    whole = method.region(model, x, torch.stack([y[0], 1 - y[1], y[2]]), threat)
    assert whole.certified.tolist() == [True, False, True]
    alone = method.region(model, x[2:], y[2:], threat)
    torch.testing.assert_close(whole.radii[2:], alone.radii, rtol=1e-9, atol=0)
    assert not method.region(model, x, 1 - y, threat).certified.any()


def test_given_proportions_are_the_beginning():
    model, x, y, push, _ = two_classes()
    shape = 1 / push.abs()
    found = EqualShares(steps=1).region(model, x, y, Linf(INF, box=None), start=shape)
    torch.testing.assert_close(
        found.radii / found.radii[:, :1], shape / shape[:, :1], rtol=1e-6, atol=0
    )


def test_without_final_search_nothing_would_be_claimed(monkeypatch):
    model, x, y, _, _ = two_classes()
    monkeypatch.setattr(Growing, "margin", lambda self, radii: torch.full((len(radii),), -1.0))
    assert not EqualShares(steps=2).region(model, x, y, Linf(INF, box=None)).certified.any()


def test_l1_is_refused():
    model, x, y, _, _ = two_classes()
    with pytest.raises(UnsupportedThreat, match="use NonUniform"):
        EqualShares().region(model, x, y, L1(INF, box=None))
