import math

import pytest
import torch
from torch import nn

from certify.nets import (
    Ball2,
    Hull,
    deep_graph,
    deep_net,
    graph,
    inputs,
    samples,
    small_graph,
    small_net,
)
from holdfast.certify import CrownIBP, Dual, Interval, capture, certified, margin_rows
from holdfast.certify.bounds.forms import linear_bounds, linear_forms
from holdfast.certify.bounds.forward import Coordinates, Forward, errors, spread_out
from holdfast.certify.studies.index_sets import index_sets
from holdfast.certify.substitution.pushing import Form
from holdfast.certify.substitution.regions import around
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.recipes import build
from holdfast.threats import L1, L2, Linf

LINES = ["adaptive", "parallel", "symbols"]
each_kind = pytest.mark.parametrize("lines", LINES)
LA = Forward(lines="symbols", schedule="plain")


class Cube(Hull):
    boxed = True


GOLDEN_A = [
    (math.inf, 0.1, 1.65, 2.85, 1.65, (5, 1), -0.75, 0.375),
    (math.inf, 0.3, 0.3, 4.175, -0.011111, (4.75, 1.25), -0.9, 0.35),
    (math.inf, 0.5, -1.5, 5.625, -2.166667, (4.25, 1.75), -1.5, 0.25),
    (math.inf, 0.8, -3.8625, 7.565625, -5.010417, (3.59375, 1.28125), -2.4, 0.007692),
    (2, 0.1, 1.740098, 2.759902, 1.726393, (5, 1), -0.75, 0.441261),
    (2, 0.5, -0.451859, 4.860868, -0.901409, (4.560660, 1.439340), -1.060660, 0.405516),
    (2, 0.8, -2.361933, 6.380063, -3.192681, (4.001438, 1.514138), -1.697056, 0.247931),
]


@pytest.mark.parametrize(("p", "eps", "low", "high", "logits", "slope", "offset", "d"), GOLDEN_A)
def test_golden_example_a(p, eps, low, high, logits, slope, offset, d):
    """LA with and without elision, both ends, the linear form, and its distance to zero."""
    x, spec = torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[1.0, -1.0]])
    threat = Cube(eps) if p == math.inf else Ball2(eps)
    found = LA.bound(small_graph(), x, threat, spec)
    assert found.lower.item() == pytest.approx(low, abs=6e-7)
    assert found.upper.item() == pytest.approx(high, abs=6e-7)
    each = LA.bound(small_graph(), x, threat, torch.eye(2))
    assert (each.lower[0, 0] - each.upper[0, 1]).item() == pytest.approx(logits, abs=6e-7)
    forms = linear_forms(LA, small_graph(), x, threat, spec)
    assert forms.coefficients.flatten().tolist() == pytest.approx(slope, abs=6e-7)
    assert forms.constants.item() == pytest.approx(offset, abs=6e-7)
    length = torch.linalg.vector_norm(forms.coefficients, ord=1 if p == math.inf else 2)
    assert (forms.at(x) / length).item() == pytest.approx(d, abs=6e-7)


@pytest.mark.parametrize(
    ("eps", "before", "after", "margin", "d", "form"),
    [
        (0.05, [0.35, 0.1], [0.65, 0.7], -0.6, 0.021429, (-9, -12, 8.25)),
        (0.1, [0.2, -0.2], [0.8, 1.0], -1.65, 0.013158, (-8, -11, 7.25)),
        (0.2, [-0.1, -0.733333], [1.066667, 1.6], -3.724286, -0.071563, None),
    ],
)
def test_golden_example_b(eps, before, after, margin, d, form):
    captured, x = deep_graph(), torch.tensor([[0.6, 0.2]]).double()
    spec = torch.tensor([[1.0, -1.0]])
    ((known, _),) = LA.known(LA.posed(captured, x, Cube(eps), spec))
    for end, wanted in zip(known.boxes[3], (before, after), strict=True):
        assert end[0].tolist() == pytest.approx(wanted, abs=6e-7)
    assert LA.bound(captured, x, Cube(eps), spec).lower.item() == pytest.approx(margin, abs=6e-7)
    forms = linear_forms(LA, captured, x, Cube(eps), spec)
    distance = forms.at(x) / forms.coefficients.abs().sum(2)
    assert distance.item() == pytest.approx(d, abs=6e-7)
    found = (*forms.coefficients.flatten().tolist(), forms.constants.item())
    assert form is None or found == pytest.approx(form, abs=6e-7)
    dual = Dual(schedule="plain").bound(captured, x, Cube(eps), spec)
    assert dual.lower.item() == pytest.approx(margin, abs=6e-7)


@pytest.mark.parametrize("threat", [Linf(0.02), L2(0.1), L1(0.3)], ids=["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["conv", "residual"])
def test_symbols_are_the_dual_bound(name, threat):
    """Alg. 1 of Wong and Kolter: l and u of all units are J with c = +-I; so are the rows."""
    x, spec = inputs(3), torch.cat([torch.eye(5), -torch.eye(5)])
    dual = Dual(schedule="plain")
    wanted = dual.bound(graph(name), x, threat, spec).lower
    found = LA.bound(graph(name), x, threat, spec)
    torch.testing.assert_close(found.lower, wanted, atol=1e-8, rtol=0)
    torch.testing.assert_close(found.upper[:, :5], -wanted[:, 5:], atol=1e-8, rtol=0)
    ((forward, _),) = LA.known(LA.posed(graph(name), x, threat, spec))
    ((backward, _),) = dual.known(dual.posed(graph(name), x, threat, spec))
    for place in forward.result.walk.read:
        for first, second in zip(forward.boxes[place], backward.boxes[place], strict=True):
            torch.testing.assert_close(first, second, atol=1e-8, rtol=0)


@each_kind
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.3), L1(0.5)], ids=["linf", "l2", "l1"])
@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
def test_samples_stay_between(name, threat, lines):
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5).double()
    method = Forward(lines=lines)
    found = method.bound(graph(name), x, threat, rows)
    points = threat.project(samples(*threat.hull(x), 100).flatten(0, 1), x.repeat(100, 1, 1, 1))
    with torch.no_grad():
        logits = graph(name).forward(points).view(100, 2, 5)
    values = torch.einsum("brk,sbk->sbr", rows, logits)
    assert (values >= found.lower).all()
    assert (values <= found.upper).all()
    assert (found.sound, found.exact) == (True, False)
    forms = linear_forms(method, graph(name), x, threat, rows)
    at = torch.einsum("brn,sbn->sbr", forms.coefficients.flatten(2), points.view(100, 2, -1))
    assert (values >= at + forms.constants - 1e-12).all()
    concretised = forms.constants - threat.accepted().support(-forms.coefficients, x)
    assert (concretised <= found.lower + 1e-8).all()


@each_kind
def test_it_is_tighter_than_intervals_and_tighter_with_them(lines):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    interval = Interval().bound(graph("residual"), x, Linf(0.02), rows)
    cheap = Forward(lines=lines).bound(graph("residual"), x, Linf(0.02), rows)
    plain = Forward(lines=lines, schedule="plain").bound(graph("residual"), x, Linf(0.02), rows)
    assert (cheap.lower >= interval.lower).all()
    assert (cheap.upper <= interval.upper).all()
    assert (plain.lower > interval.lower + 0.1).all()
    assert cheap.lower.mean() > plain.lower.mean() - 1e-4


def test_few_coordinates_through_a_deep_network():
    """Two inputs, four layers: far tighter than intervals or CROWN-IBP."""
    layers = [nn.Linear(2, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 20)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(20, 3)).double()
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    captured, x, threat = capture(model, (2,)), inputs(4, (2,)), Linf(0.1, box=None)
    widths = {}
    methods = [Interval(), *(Forward(lines=lines) for lines in LINES)]
    for method in methods:
        found = method.bound(captured, x, threat, torch.eye(3))
        name = getattr(method, "lines", "interval")
        widths[name] = (found.upper - found.lower).mean().item()
    assert widths["symbols"] < widths["adaptive"] < widths["interval"] / 4
    rows = torch.cat([torch.eye(3), -torch.eye(3)])
    other = CrownIBP().bound(captured, x, threat, rows).lower
    assert widths["adaptive"] < -(other[:, :3] + other[:, 3:]).mean().item() / 1.5


@each_kind
def test_a_linear_model_is_exact(lines):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x, rows = inputs(3, (2, 3, 2)), margin_rows(torch.tensor([0, 3, 1]), 4).double()
    margin = (rows @ model(x).detach().unsqueeze(2)).squeeze(2)
    for threat, order in ((Cube(0.07), 1), (Ball2(0.07), 2)):
        drop = 0.07 * torch.linalg.vector_norm(rows @ model[1].weight.detach(), ord=order, dim=2)
        found = Forward(lines=lines).bound(model, x, threat, rows)
        torch.testing.assert_close(found.lower, margin - drop, atol=1e-10, rtol=0)
        torch.testing.assert_close(found.upper, margin + drop, atol=1e-10, rtol=0)
        assert (found.lower < margin - drop).all()


@each_kind
def test_float32_and_float64_agree(lines):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    fast = Forward(lines=lines, mode="fast")
    fast = fast.bound(graph("residual"), x.float(), Linf(0.02), rows)
    proved = Forward(lines=lines).bound(graph("residual"), x.float(), Linf(0.02), rows)
    assert fast.lower.dtype == torch.float32
    assert (fast.sound, proved.sound) == (False, True)
    torch.testing.assert_close(fast.lower.double(), proved.lower, atol=1e-4, rtol=1e-4)


@each_kind
def test_an_example_does_not_depend_on_its_neighbours(lines):
    x, rows = inputs(5), margin_rows(torch.tensor([0, 1, 2, 3, 4]), 5)
    radius = torch.tensor([0.01, 0.03, 0.02, 0.04, 0.05])
    method = Forward(lines=lines)
    together = method.bound(graph("residual"), x, Linf(radius), rows).lower
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = method.bound(graph("residual"), x[order], Linf(radius[order]), rows[order]).lower
    torch.testing.assert_close(mixed, together[order], atol=1e-9, rtol=0)
    one = Forward(lines=lines, memory=1)
    alone = one.bound(graph("residual"), x[1:4], Linf(radius[1:4]), rows[1:4]).lower
    torch.testing.assert_close(alone, together[1:4], atol=1e-9, rtol=0)


@each_kind
def test_gradients_of_the_parameters_and_the_radius(lines):
    """Against finite differences."""
    module, x = deep_net().double(), torch.tensor([[0.61, 0.23]]).double()
    spec, method = torch.tensor([[1.0, -1.0]]), Forward(lines=lines, schedule="plain", mode="fast")
    model = capture(module, (2,))
    radius = torch.tensor([0.13], dtype=torch.float64, requires_grad=True)
    found = linear_bounds(method, model, x, Linf(radius, box=None), spec).sum()
    weight = module[0].weight
    gradient, slope = torch.autograd.grad(found, [weight, radius])

    def at(step, shift):
        with torch.no_grad():
            weight[0, 1] += step
            value = method.bound(model, x, Linf(radius.detach() + shift, box=None), spec).lower
            weight[0, 1] -= step
        return value.item()

    small = 1e-6
    assert (at(small, 0) - at(-small, 0)) / (2 * small) == pytest.approx(
        gradient[0, 1].item(), abs=1e-5
    )
    assert (at(0, small) - at(0, -small)) / (2 * small) == pytest.approx(slope.item(), abs=1e-5)


def test_columns_are_counted():
    x, rows = inputs(2), torch.eye(5)
    first = Forward(schedule="plain").bound(graph("conv"), x, Linf(0.02), rows)
    assert first.cost == {"columns": 84.0}
    assert LA.bound(graph("conv"), x, Linf(0.02), rows).cost["columns"] > 84
    assert LA.bound(graph("conv"), x, Linf(0.0), rows).cost["columns"] >= 84
    for eps in (0.005, 0.05):  # of one image, |x| and one for each open unit
        open_ = index_sets(Dual(schedule="plain"), graph("residual"), x[:1], Linf(eps))
        found = LA.bound(graph("residual"), x[:1], Linf(eps), rows).cost["columns"]
        assert found == 84 + sum(int(each.unstable) for each in open_)


@each_kind
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_network_with_a_broken_weight_certifies_nothing(lines, bad):
    model = small_net()
    with torch.no_grad():
        model[0].weight[0, 0] = bad
    x, spec = torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, -1.0]])
    for schedule in ("cheap", "plain"):
        found = Forward(lines=lines, schedule=schedule).bound(model, x, Linf(0.01), spec)
        assert not certified(found).any()


def test_bad_input_is_named():
    x = inputs(2)
    with pytest.raises(InputError, match=r"^lines="):
        Forward(lines="straight")
    with pytest.raises(InputError, match=r"^spec="):
        Forward().bound(graph("conv"), x, Linf(0.1), torch.eye(4))
    with pytest.raises(UnsupportedThreat, match="object"):
        Forward().bound(graph("conv"), x, object(), torch.eye(5))
    assert build(Forward, {"lines": "symbols"}) == Forward(lines="symbols")


def test_the_ends_of_a_form():
    """<v, x'> + 3 e - 1 over |x' - x| <= 1/2 and e in [-1, 1]."""
    x = torch.tensor([[1.0, 2.0]]).double()
    table = torch.tensor([1.0, -2.0, 3.0]).double().view(1, 3, 1)
    one = torch.ones(1, 1).double()
    variables = Coordinates(around(Cube(0.5), x, rigorous=False), True, False)
    box = variables.ends(Form(table, table, -one, -one))
    assert box.lower.item() == pytest.approx(-3 - 1.5 - 3 - 1)
    assert box.upper.item() == pytest.approx(-3 + 1.5 + 3 - 1)
    assert errors(table, 2).item() == 3
    nothing = Form(table[:, :0], table[:, :0], -one, one)
    assert [end.item() for end in variables.ends(nothing)] == [-1, 1]


def test_gaps_are_spread_over_columns_image_by_image():
    gap = torch.tensor([[0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 5.0, 0.0]])
    found = spread_out(gap)
    assert found.tolist() == [[[0, 2, 0, 0], [0, 0, 0, 3]], [[0, 0, 5, 0], [0, 0, 0, 0]]]
    assert spread_out(torch.zeros(2, 3)).shape == (2, 0, 3)
