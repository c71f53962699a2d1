import pytest
import torch
from torch import nn

from certify.nets import conv_net, graph, inputs, samples
from holdfast.certify import CROWN, CrownIBP, Dual, HighProbability, Projected, capture, margin_rows
from holdfast.certify.bounds.forms import Forms, linear_bounds, linear_forms
from holdfast.core.errors import InputError
from holdfast.threats import L2, Linf

METHODS = [Dual, CROWN, CrownIBP]


def problem():
    return inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5).double()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.2)], ids=str)
def test_forms_lie_below_the_rows_everywhere_in_the_set(method, name, threat):
    x, rows = problem()
    forms = linear_forms(method(), graph(name), x, threat, rows)
    assert forms.coefficients.shape == (3, 4, *x.shape[1:])
    assert forms.constants.shape == (3, 4)
    for moved in samples(*Linf(threat.radius).hull(x), 20):
        point = threat.project(moved, x)
        with torch.no_grad():
            values = torch.einsum("brk,bk->br", rows, graph(name).forward(point))
        assert (forms.at(point) <= values + 1e-12).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["conv", "residual"])
def test_concretised_forms_are_the_bounds(method, name):
    x, rows = problem()
    plain = method(schedule="plain")
    forms = linear_forms(plain, graph(name), x, Linf(0.05), rows)
    wider = Linf(0.05).accepted()
    found = forms.constants - wider.support(-forms.coefficients, x)
    wanted = plain.bound(graph(name), x, Linf(0.05), rows).lower
    torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


def test_a_linear_model_is_its_own_form():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x, rows = inputs(3, (2, 3, 2)), margin_rows(torch.tensor([0, 3, 1]), 4).double()
    forms = linear_forms(CROWN(), model, x, Linf(0.07), rows)
    wanted = (rows @ model[1].weight).view(3, 3, 2, 3, 2)
    torch.testing.assert_close(forms.coefficients, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(forms.constants, rows @ model[1].bias, atol=1e-9, rtol=0)
    assert (forms.constants < rows @ model[1].bias).all()


def test_forms_at_points():
    forms = Forms(torch.tensor([[[1.0, -2.0], [0.5, 0.0]]]), torch.tensor([[3.0, -1.0]]))
    assert forms.at(torch.tensor([[2.0, 1.0]])).tolist() == [[3.0, 0.0]]


def leaves(radius_shape):
    """A model in float64, inputs, rows and a radius, all but the rows with gradients."""
    model = conv_net().double()
    with torch.no_grad():
        for index, each in enumerate(model.parameters()):
            each.copy_(inputs(1, tuple(each.shape), seed=index)[0] - 0.5)
    x, rows = problem()
    radius = 0.03 + 0.02 * inputs(1, radius_shape, seed=9)[0]
    return model, x.requires_grad_(), rows, radius.requires_grad_()


SHAPES = [(Linf, (3,)), (L2, (3, 2, 7, 6)), (L2, (3,)), (Linf, (1, 2, 7, 6))]
FAST = [(Dual, *SHAPES[0]), (CROWN, *SHAPES[1]), (CrownIBP, *SHAPES[0])]
REST = [case for case in ((m, *s) for m in METHODS for s in SHAPES) if case not in FAST]


@pytest.mark.parametrize(
    ("method", "threat", "shape"),
    [*FAST, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST)],
)
def test_gradients_are_those_of_finite_differences(method, threat, shape):
    model, x, rows, radius = leaves(shape)
    captured, method = capture(model, tuple(x.shape[1:])), method(mode="fast")
    wanted = [x, radius, *model.parameters()]

    def value():
        found = linear_bounds(method, captured, x, threat(radius, box=(-0.5, 1.5)), rows)
        forms = linear_forms(
            method, captured, x, threat(radius, box=(-0.5, 1.5)), rows, differentiable=True
        )
        return found.square().sum() + forms.at(x).sum() + forms.coefficients.square().sum()

    gradients = torch.autograd.grad(value(), wanted, allow_unused=True)
    for seed, (leaf, gradient) in enumerate(zip(wanted, gradients, strict=True)):
        assert gradient is not None
        direction, step = inputs(1, tuple(leaf.shape), seed=70 + seed)[0] - 0.5, 1e-6
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf.add_(sign * step * direction)
                ends.append(value().item())
                leaf.sub_(sign * step * direction)
        slope = (ends[0] - ends[1]) / (2 * step)
        assert (gradient * direction).sum().item() == pytest.approx(slope, rel=2e-4, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_bounds_with_gradients_are_the_bounds(method):
    model, x, rows, radius = leaves((3,))
    model = capture(model, tuple(x.shape[1:]))
    for mode in ("fast", "rigorous"):
        found = linear_bounds(method(mode=mode), model, x, Linf(radius), rows)
        wanted = method(mode=mode).bound(model, x, Linf(radius.detach()), rows)
        assert found.requires_grad
        torch.testing.assert_close(found.detach(), wanted.lower, atol=1e-6, rtol=0)
    gradients = [
        torch.autograd.grad(
            linear_bounds(method(mode=mode), model, x, Linf(radius), rows).sum(), radius
        )[0]
        for mode in ("fast", "rigorous")
    ]
    torch.testing.assert_close(*gradients, rtol=1e-2, atol=1e-3)


def test_without_the_wish_there_is_no_graph():
    model, x, rows, radius = leaves((3,))
    assert not Dual().bound(model, x, Linf(radius), rows).lower.requires_grad
    forms = linear_forms(CROWN(), model, x, Linf(radius), rows)
    assert not forms.coefficients.requires_grad
    assert not forms.constants.requires_grad
    assert all(each.grad is None for each in (x, radius, *model.parameters()))


def test_a_certified_loss_can_be_trained_on():
    model, x, rows, _ = leaves((3,))
    captured, optimiser = (
        capture(model, tuple(x.shape[1:])),
        torch.optim.SGD(model.parameters(), 0.02),
    )
    losses = []
    for _ in range(12):
        margins = linear_bounds(Dual(mode="fast"), captured, x.detach(), Linf(0.02), rows)
        loss = (1 - margins).clamp(min=0).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("method", [Projected(), HighProbability()])
@pytest.mark.parametrize("call", [linear_forms, linear_bounds])
def test_estimates_have_no_forms(method, call):
    x, rows = problem()
    with pytest.raises(InputError, match=f"{type(method).__name__}.*only estimates"):
        call(method, graph("conv"), x, Linf(0.05), rows)
