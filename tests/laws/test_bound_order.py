"""Interval <= linear bounds <= linear programme <= exact minimum <= any sampled value, in the order
that theorems give, and nowhere else.

Each method is compared with the programme over its own boxes: the dual bound with parallel ones,
CROWN and alpha-CROWN with adaptive ones, CROWN-IBP with intervals. Where no order is claimed, both
orders are shown to happen.

Source: Wong and Kolter 2018, Theorem 1 (the dual with the best slopes is the programme); Wong 2020,
    sec 3.1.5 and 3.2.3 (the fixed slope is not always better than intervals).
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.nets import graph, inputs, samples
from certify.programming import tiny, tiny_graph
from holdfast.certify import CROWN, AlphaCrown, CrownIBP, Dual, Interval, margin_rows
from holdfast.certify.operators.relaxation import first_slope, lines_of
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.solvers.highs import Solver
from holdfast.certify.solvers.lp import LP
from holdfast.certify.solvers.milp import MILP
from holdfast.certify.substitution.backward import lower
from holdfast.certify.substitution.rows import Dense, Memo
from holdfast.threats import L1, Linf

SMALL, DEEPER = (3, 7, 5, 2), (4, 12, 10, 8, 3)
ROOM = 1e-5  # linear bounds may subtract that much for rounding
EXACT = MILP(plain=True, until="optimum", tolerance=1e-6)
CASES = [("conv", Linf(0.03)), ("conv", L1(0.4)), ("pooled", Linf(0.02))]


@pytest.mark.parametrize(("name", "threat"), CASES, ids=str)
def test_bounds_are_in_the_order_of_the_theorems(name, threat):
    found, x, rows = graph(name), inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    interval = Interval().bound(found, x, threat, rows).lower
    exact = EXACT.solve(found, x, threat, rows)
    assert exact.bounds.exact
    for boxes, method in (("interval", CrownIBP), ("parallel", Dual), ("adaptive", CROWN)):
        linear = method().bound(found, x, threat, rows).lower
        programme = LP(boxes=boxes, plain=True).bound(found, x, threat, rows).lower
        assert (interval <= linear + ROOM).all()
        assert (linear <= programme + ROOM).all()
        assert (programme <= exact.bounds.lower + 2e-6).all()
        assert (programme > linear + 1e-4).any()
    assert (exact.bounds.lower <= exact.value).all()
    points = torch.stack([threat.project(p, x) for p in samples(*threat.hull(x), 300)])
    with torch.no_grad():
        logits = found.forward(points.flatten(0, 1)).view(300, 2, 5)
    assert (torch.einsum("brk,sbk->sbr", rows.double(), logits) >= exact.bounds.lower).all()


@pytest.mark.parametrize("eps", [0.02, 0.05])
def test_free_slopes_lie_between_crown_and_the_programme(eps):
    found, x, rows = graph("conv"), inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    crown = CROWN().bound(found, x, Linf(eps), rows).lower
    alpha = AlphaCrown(steps=60).bound(found, x, Linf(eps), rows).lower
    programme = LP(plain=True).bound(found, x, Linf(eps), rows).lower
    assert (crown <= alpha + ROOM).all()
    assert (alpha <= programme + ROOM).all()
    open_ = crown <= 0
    assert (programme - alpha)[open_ & (alpha <= 0)].max() < 0.2 * (programme - crown)[open_].max()


@pytest.mark.parametrize(("seed", "sizes"), [(0, SMALL), (1, SMALL), (2, SMALL), (3, DEEPER)])
def test_the_dual_with_the_slopes_of_the_programme_is_the_programme(seed, sizes):
    """Theorem 1, with alpha read off the multipliers of z >= 0 and z >= zhat; any other alpha gives
    less."""
    net, x, threat = tiny(seed, sizes), inputs(1, sizes[:1], seed), Linf(0.4, box=None)
    method, spec = LP(plain=True), torch.eye(sizes[-1]) - torch.eye(sizes[-1]).roll(1, 0)
    screen = CROWN()
    problem = screen.posed(net, x, threat, spec)
    programmes = method.bound(net, x, threat, spec).lower[0]
    with torch.no_grad():
        case = method._case(screen, problem, 0, torch.full((len(spec),), -torch.inf).double())
        program, place = case.program(exact=False, equalities=False), len(case.graph.nodes) - 1
        for index, wanted in enumerate(programmes.tolist()):
            cost = torch.from_numpy(program.costs[[index]].toarray()[0])
            duals = Solver(program, seconds=5.0).minimise(cost).duals
            relaxed = case.known.adaptive
            lines = {
                node.place: lines_of(node.op, relaxed.boxes[node.inputs[0]], slope=slope)
                for node, slope in slopes(case.graph, relaxed.boxes, program, cost, duals)
            }
            best = replace(relaxed, lines=lines, memo=Memo())
            dual = lower(best, Dense(case.rows[[index]]), torch.zeros(1).long(), place).item()
            assert dual == pytest.approx(wanted, abs=1e-8)
            crown = lower(relaxed, Dense(case.rows[[index]]), torch.zeros(1).long(), place).item()
            assert dual >= crown - ROOM
            for trial in range(5):
                lines = {
                    node.place: lines_of(node.op, box, slope=inputs(1, box.lower.shape, trial)[0])
                    for node in case.graph.nodes
                    for box in (relaxed.boxes[node.inputs[0]] if node.inputs else None,)
                    if isinstance(node.op, ReLU)
                }
                other = replace(relaxed, lines=lines, memo=Memo())
                less = lower(other, Dense(case.rows[[index]]), torch.zeros(1).long(), place).item()
                assert less <= wanted + 1e-8
            with torch.no_grad():
                logits = net(samples(*threat.hull(x), 300)[:, 0])
            assert (logits @ spec[index].double() >= wanted).all()


def slopes(found, boxes, program, cost, duals):
    """The lower slope of every ReLU: the share that z >= zhat has of what holds z up."""
    start = 0
    rest = (cost - torch.from_numpy(program.matrix.T @ duals.numpy())).clamp_min(0)
    entries = torch.from_numpy(program.matrix.toarray())
    below = ((entries != 0).sum(1) == 2) & program.rows.upper.isinf()
    share = entries[below].clamp_min(0).T @ duals[below].clamp_min(0)
    for node in found.nodes:
        count = boxes[node.place].lower.numel()
        if isinstance(node.op, ReLU):
            slope = first_slope(node.op, boxes[node.inputs[0]]).flatten()
            column = (program.numbers >= start) & (program.numbers < start + count)
            up, flat = share[column], rest[column]
            mine = slope[program.numbers[column] - start]
            slope[program.numbers[column] - start] = torch.where(
                up + flat > 1e-9, up / (up + flat).clamp_min(1e-9), mine
            )
            yield node, slope.view(boxes[node.place].lower.shape)
        start += count


def test_tighter_boxes_make_a_tighter_programme():
    found, x, rows = graph("conv"), inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    loose, tight = (
        LP(boxes=boxes, plain=True).bound(found, x, Linf(0.03), rows).lower
        for boxes in ("interval", "adaptive")
    )
    assert (loose <= tight + ROOM).all()


def test_without_open_units_all_are_the_same():
    found, x, rows = graph("conv"), inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    bounds = [
        method.bound(found, x, Linf(1e-6), rows).lower
        for method in (Dual(), CROWN(), LP(plain=True), EXACT)
    ]
    for bound in bounds[1:]:
        torch.testing.assert_close(bound, bounds[0], atol=2e-5, rtol=0)


def test_no_order_is_claimed_between_fixed_and_adaptive_slopes():
    """Each is better somewhere, with the textbook's boxes and with the cheap ones."""
    for schedule in ("plain", "cheap"):
        gaps = []
        for seed in range(6):
            net, x = tiny_graph(seed, (3, 7, 5, 2)), inputs(3, (3,), seed)
            spec = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
            dual, crown = (
                method(schedule=schedule).bound(net, x, Linf(0.3, box=None), spec)
                for method in (Dual, CROWN)
            )
            gaps.append(dual.lower - crown.lower)
        assert torch.stack(gaps).max() > 1e-2
        assert torch.stack(gaps).min() < -1e-2


def test_no_order_is_claimed_between_the_plain_dual_and_intervals():
    """A unit with -l much larger than u: the fixed slope goes below zero, the interval does not."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2)).double()
    with torch.no_grad():
        for parameter, value in zip(
            net.parameters(), ([[1.0]], [-0.9], [[1.0], [0.0]], [0, 0]), strict=True
        ):
            parameter.copy_(torch.tensor(value))
    x, row = torch.zeros(1, 1).double(), torch.tensor([[1.0, 0.0]])
    interval = Interval().bound(net, x, Linf(1.0, box=None), row).lower.item()
    dual = Dual(schedule="plain").bound(net, x, Linf(1.0, box=None), row).lower.item()
    programme = (
        LP(plain=True, boxes="parallel").bound(net, x, Linf(1.0, box=None), row).lower.item()
    )
    assert dual < -0.05
    assert interval == pytest.approx(0.0, abs=1e-9)
    assert programme == pytest.approx(0.0, abs=1e-9)
    found, many = graph("conv"), inputs(2)
    rows = margin_rows(torch.tensor([0, 4]), 5)
    better = Dual(schedule="plain").bound(found, many, Linf(0.01), rows).lower
    assert (better > Interval().bound(found, many, Linf(0.01), rows).lower + 1e-3).any()
