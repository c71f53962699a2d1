import math

import pytest
import torch

from certify.nets import Ball2, Hull, deep_graph, graph, inputs, samples, small_graph
from certify.programming import tiny_graph
from holdfast.certify import CROWN, CrownIBP, Dual, Interval, margin_rows
from holdfast.certify.bounds.forms import linear_forms
from holdfast.certify.bounds.forward import Forward
from holdfast.certify.bounds.given import known_from
from holdfast.certify.bounds.mixed import ForwardBackward, IntervalLinear
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.rows import Dense
from holdfast.core.errors import InputError
from holdfast.threats import L2, Linf


class Cube(Hull):
    boxed = True


def test_golden_example_b():
    """IBP-inspired linear bounds, composed as the text of the thesis has it."""
    x, spec = torch.tensor([[0.6, 0.2]]).double(), torch.tensor([[1.0, -1.0]])
    method = IntervalLinear(schedule="plain")
    for eps, wanted in ((0.05, -0.6), (0.1, -1.75), (0.2, -3.895238)):
        found = method.bound(deep_graph(), x, Cube(eps), spec)
        assert found.lower.item() == pytest.approx(wanted, abs=6e-7)
        assert found.sound
    for eps, wanted in ((0.05, 0.021429), (0.1, 0.002778), (0.2, -0.110142)):
        forms = linear_forms(method, deep_graph(), x, Cube(eps), spec)
        distance = forms.at(x) / forms.coefficients.abs().sum(2)
        assert distance.item() == pytest.approx(wanted, abs=6e-7)


@pytest.mark.parametrize("p", [math.inf, 2])
def test_with_one_hidden_layer_it_is_the_dual_bound(p):
    """Also for l2, where the first layer needs the ball and not its hull."""
    x, y = inputs(5, (2,)), torch.tensor([0, 1, 0, 1, 1])
    for eps in (0.1, 0.3, 0.8):
        threat = Cube(eps) if p == math.inf else Ball2(eps)
        first = IntervalLinear(schedule="plain").bound(small_graph(), x, threat, margin_rows(y, 2))
        second = Dual(schedule="plain").bound(small_graph(), x, threat, margin_rows(y, 2))
        torch.testing.assert_close(first.lower, second.lower, atol=1e-9, rtol=0)


@pytest.mark.parametrize("threat", [Cube(0.03), Ball2(0.2)], ids=["linf", "l2"])
def test_a_band_that_is_carried_is_never_tighter_than_one_that_is_composed(threat):
    """The published code's composition, (W, m1, m2) from layer to layer, beside that of Alg. 3.1 on
    the same boxes."""
    x, rows = inputs(3), torch.cat([torch.eye(5), -torch.eye(5)]).double()
    forward = Forward(lines="parallel", schedule="plain")
    carried = forward.bound(graph("residual"), x, threat, rows).lower
    ((pushed, _),) = forward.known(forward.posed(graph("residual"), x, threat, rows))
    walk = pushed.result.walk
    known = known_from(
        walk.graph, walk.values, pushed.variables.region, walk.boxes, rigorous=True
    ).fixed
    image, place = torch.arange(3).repeat_interleave(10), len(walk.graph.nodes) - 1
    composed = lower(known, Dense(rows.repeat(3, 1)), image, place).view(3, 10)
    assert (carried <= composed + 1e-9).all()
    assert (carried < composed - 1e-3).any()


def test_neither_boxes_by_lines_nor_by_intervals_are_always_better():
    """Boxes of the dual bound are looser than intervals at one margin in seven, of these."""
    gaps = []
    for seed in range(3):
        net = tiny_graph(seed, (3, 7, 6, 2))
        x, rows = inputs(9, (3,), seed), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        lines, intervals = (
            method(schedule="plain").bound(net, x, Cube(0.3), rows).lower
            for method in (Dual, IntervalLinear)
        )
        gaps.append(lines - intervals)
    assert torch.stack(gaps).min() < -1e-3
    assert torch.stack(gaps).mean() > 1e-2


@pytest.mark.parametrize("method", [IntervalLinear, ForwardBackward])
@pytest.mark.parametrize("threat", [Linf(0.03), L2(0.2)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", ["conv", "residual"])
def test_samples_stay_above(method, threat, name):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5).double()
    found = method().bound(graph(name), x, threat, rows)
    points = threat.project(samples(*threat.hull(x), 200).flatten(0, 1), x.repeat(200, 1, 1, 1))
    with torch.no_grad():
        logits = graph(name).forward(points).view(200, 3, 5)
    assert (torch.einsum("brk,sbk->sbr", rows, logits) >= found.lower).all()
    assert found.sound


def test_a_backward_pass_of_the_rows_gains():
    """Boxes of the forward pass are tighter than intervals, looser than those of CROWN."""
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    order = [CrownIBP, ForwardBackward, CROWN]
    found = [
        method(schedule="plain").bound(graph("residual"), x, Linf(0.02), rows).lower.mean()
        for method in order
    ]
    forward = Forward(schedule="plain").bound(graph("residual"), x, Linf(0.02), rows).lower.mean()
    assert found[0] + 0.1 < found[1] < found[2]
    assert forward + 0.1 < found[1]


def test_rows_proved_by_intervals_are_left():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    interval = Interval().bound(graph("conv"), x, Linf(0.005), rows).lower
    found = IntervalLinear().bound(graph("conv"), x, Linf(0.005), rows)
    assert torch.equal(found.lower[interval > 0], interval[interval > 0])
    assert found.cost["rows"] * 3 == (interval <= 0).sum()


def test_bad_input_is_named():
    captured = small_graph()
    with pytest.raises(InputError, match=r"^lines="):
        ForwardBackward(lines="bent")
    with pytest.raises(InputError, match=r"^x="):
        IntervalLinear().bound(captured, torch.zeros(1, 3), Linf(0.1), torch.eye(2))
