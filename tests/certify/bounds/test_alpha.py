import pytest
import torch

from certify.nets import graph, inputs
from holdfast.certify import margin_rows
from holdfast.certify.bounds.alpha import AlphaCrown
from holdfast.certify.bounds.linear import CROWN
from holdfast.threats import L2, Linf


@pytest.mark.parametrize("name", ["conv", "residual"])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.3)])
@pytest.mark.parametrize("mode", ["rigorous", "fast"])
@pytest.mark.slow
def test_never_below_crown_and_better_somewhere(name, threat, mode):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    x = x if mode == "rigorous" else x.float()
    crown = CROWN(mode=mode).bound(graph(name), x, threat, rows).lower
    alpha = AlphaCrown(mode=mode, steps=6).bound(graph(name), x, threat, rows).lower
    assert (alpha >= crown).all()
    assert (alpha > crown + 1e-4).any()


def test_stays_below_what_descent_finds():
    x, y = inputs(3), torch.tensor([0, 4, 2])
    rows = margin_rows(y, 5).double()
    lower = AlphaCrown(steps=10, step_size=0.3).bound(graph("residual"), x, Linf(0.05), rows).lower
    for row in range(4):
        point = x.clone()
        for _ in range(10):
            point.requires_grad_()
            value = (rows[:, row] * graph("residual").forward(point)).sum(1)
            assert (value >= lower[:, row]).all()
            (gradient,) = torch.autograd.grad(value.sum(), point)
            point = Linf(0.05).project((point - 0.02 * gradient.sign()).detach(), x)


def test_more_steps_are_never_worse():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    found = [
        AlphaCrown(steps=steps).bound(graph("conv"), x, Linf(0.1), rows).lower
        for steps in (1, 4, 9)
    ]
    assert (found[1] >= found[0]).all()
    assert (found[2] >= found[1]).all()


@pytest.mark.slow
def test_the_best_bound_is_kept_where_steps_overshoot():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    crown = CROWN().bound(graph("residual"), x, Linf(0.05), rows).lower
    for steps in (1, 2, 3):
        method = AlphaCrown(steps=steps, step_size=50.0)
        assert (method.bound(graph("residual"), x, Linf(0.05), rows).lower >= crown).all()


def test_a_row_does_not_depend_on_its_neighbours():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    method = AlphaCrown(steps=4)
    together = method.bound(graph("residual"), x, Linf(0.05), rows).lower
    alone = method.bound(graph("residual"), x[1:2], Linf(0.05), rows[1:2, 2:3]).lower
    torch.testing.assert_close(alone, together[1:2, 2:3], atol=1e-6, rtol=0)


def test_free_slopes_reach_the_exact_minimum_of_one_hidden_layer():
    """One output row whose coefficients on all ReLUs are positive: the best lower line is exact
    at the minimum, which is found by a grid."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [2.0]]))
        model[0].bias.copy_(torch.tensor([-0.4, 0.3, -1.0]))
        model[2].weight.copy_(torch.tensor([[1.0, 2.0, 0.5]]))
        model[2].bias.fill_(0.1)
    x = torch.tensor([[0.5]], dtype=torch.float64)
    grid = torch.linspace(0.1, 0.9, 8001, dtype=torch.float64).unsqueeze(1)
    exact = model.double()(grid).min().item() - 0.3
    spec = torch.ones(1, 1)
    model[2].bias.data -= 0.3
    crown = CROWN(schedule="plain").bound(model, x, Linf(0.4), spec).lower.item()
    alpha = AlphaCrown(steps=200, schedule="plain").bound(model, x, Linf(0.4), spec).lower.item()
    assert crown < exact - 0.01
    assert exact - 5e-3 <= alpha <= exact + 1e-9
