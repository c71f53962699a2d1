from itertools import product

import pytest
import torch

from certify.nets import graph, inputs, samples
from certify.programming import enumerated, tiny
from holdfast.certify import capture
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.rounding import Box
from holdfast.certify.solvers.expressions import Picture
from holdfast.certify.solvers.highs import Solver, Status
from holdfast.certify.solvers.lp import proved
from holdfast.certify.solvers.programs import Octahedron, program_of
from holdfast.threats import L1, Linf

CPU = torch.device("cpu")


def around(found, threat, x, change=None):
    """The picture of an image by intervals, and its boxes."""
    with torch.no_grad():
        known = boxes(found, Box(*threat.hull(x)), rigorous=True)
        known = known if change is None else change(known)
        values = found.constants.bind(torch.float64, CPU)
        return Picture.of(found, values, known, equalities=False), known


@pytest.mark.parametrize("ball", [Linf, L1])
@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
def test_every_input_is_a_feasible_point_with_the_value_of_its_rows(name, ball):
    found, x, rows = graph(name), inputs(1), torch.eye(5).double()
    threat = ball(0.02) if ball is Linf else ball(0.4)
    picture, _ = around(found, threat, x)
    within = Octahedron(x[0], 0.4) if ball is L1 else None
    program = program_of(picture, rows, within=within)
    points = torch.stack([threat.project(p, x)[0] for p in samples(*threat.hull(x), 15)])
    with torch.no_grad():
        walked = found.walk(
            points, lambda node, each, values: node.op.forward(each, values), like=points
        )
    numbers = torch.cat([each.flatten(1) for each in walked], 1)
    own = program.numbers < numbers.shape[1]
    v = torch.zeros(len(points), len(program.numbers)).double()
    v[:, own] = numbers[:, program.numbers[own]]
    if within is not None:
        count = int((~own).sum()) // 2
        unit = program.numbers[: (program.numbers < x.numel()).sum()]
        move = (points - x).flatten(1)[:, unit]
        v[:, ~own] = torch.cat([move.clamp_min(0), -move.clamp_max(0)], 1)
        assert count == len(unit)
    total = torch.from_numpy(program.matrix @ v.T.numpy()).T
    assert (total >= program.rows.lower - 1e-9).all()
    assert (total <= program.rows.upper + 1e-9).all()
    assert ((v >= program.columns.lower - 1e-9) & (v <= program.columns.upper + 1e-9)).all()
    value = torch.from_numpy(program.costs @ v.T.numpy()).T + program.constants
    torch.testing.assert_close(value, walked[-1], atol=1e-9, rtol=0)


def test_units_that_are_off_never_enter():
    found, x = graph("conv"), inputs(1)
    picture, known = around(found, Linf(0.001), x)
    program = program_of(picture, torch.eye(5).double())
    place = next(iter(picture.open))
    unit = program.numbers[program.numbers >= picture.start[place]] - picture.start[place]
    unit = unit[unit < known[place].lower.numel()]
    assert picture.open[place].flatten()[unit].all()
    assert len(unit) < known[place].lower.numel() / 4
    closed, _ = around(found, Linf(0.0), x)
    assert program_of(closed, torch.eye(5).double()).matrix.shape[1] <= 84 + 8


def test_exact_programmes_have_one_binary_for_each_open_relu():
    found, x = graph("conv"), inputs(1)
    picture, _ = around(found, Linf(0.01), x)
    relaxed = program_of(picture, torch.eye(5).double())
    exact = program_of(picture, torch.eye(5).double(), exact=True)
    assert not relaxed.integral.any()
    count = sum(
        int(picture.open[node.place].sum()) for node in found.nodes if node.place in picture.open
    )
    assert 0 < int(exact.integral.sum()) <= count + 8


def test_an_input_that_is_no_column_keeps_its_value():
    found, x = graph("conv"), inputs(1)
    picture, _ = around(found, Linf(0.01), x)
    program = program_of(picture, torch.eye(5)[:1].double())
    point = torch.arange(len(program.numbers)).double()
    there = program.input_of(point, x[0])
    mine = program.numbers[program.numbers < 84]
    assert torch.equal(there.flatten()[mine], point[: len(mine)])
    rest = torch.ones(84, dtype=torch.bool)
    rest[mine] = False
    assert torch.equal(there.flatten()[rest], x.flatten()[rest])
    cost = program.unit_cost(int(program.numbers[3]))
    assert cost.nonzero().tolist() == [[3]]


def test_all_splits_of_all_units_give_the_exact_minimum():
    """A box that was cut at a split is no longer implied by the network, and has to be kept."""
    net, x, threat = tiny(5, (2, 3, 2, 2)), inputs(1, (2,)), Linf(0.5, box=None)
    found, row = capture(net, (2,)), torch.tensor([[1.0, -1.0]]).double()
    relus = [node for node in found.nodes if node.place and type(node.op).__name__ == "ReLU"]
    reads = [node.inputs[0] for node in relus]
    best, empty = torch.inf, 0
    for signs in product((False, True), repeat=5):
        sides = dict(zip(reads, torch.tensor(signs).split([3, 2]), strict=True))
        leaf = _leaf(found, threat, x, sides, row)
        best, empty = min(best, leaf), empty + (leaf == torch.inf)
    wanted = enumerated(net, row[0], *(end.flatten() for end in threat.hull(x)))
    assert best == pytest.approx(wanted, abs=1e-7)
    assert best <= wanted + 1e-9
    assert empty > 0


def _leaf(found, threat, x, sides, row):
    """The bound of one pattern of signs; inf where its programme is proved to be empty."""

    def cut(known):
        for place, on in sides.items():
            low, high = known[place]
            known[place] = Box(torch.where(on, low.clamp_min(0), low), high)
            known[place] = Box(known[place].lower, torch.where(on, high, high.clamp_max(0)))
            if (known[place].lower > known[place].upper).any():
                return None
        return known

    picture, known = around(found, threat, x, cut) if _fits(found, threat, x, cut) else (None, None)
    if known is None:
        return torch.inf
    kept = {place: torch.ones_like(on) for place, on in sides.items()}
    program = program_of(picture, row, kept=kept)
    cost = torch.from_numpy(program.costs[[0]].toarray()[0])
    answer = Solver(program, seconds=5.0).minimise(cost)
    assert answer.status in (Status.SOLVED, Status.INFEASIBLE)
    return proved(program, cost, float(program.constants[0]), answer)


def _fits(found, threat, x, cut):
    with torch.no_grad():
        return cut(boxes(found, Box(*threat.hull(x)), rigorous=True)) is not None
