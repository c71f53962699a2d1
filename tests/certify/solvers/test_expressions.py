import pytest
import torch

from certify.nets import NETS, graph, inputs, samples
from holdfast.certify import Interval
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.operators.selections import Maximum, Minimum
from holdfast.certify.rounding import Box
from holdfast.certify.solvers.expressions import Picture, places, reaches, rivals
from holdfast.threats import Linf


def picture(name, eps, *, equalities=False):
    """The picture of one image by intervals, and points of its box."""
    x, found = inputs(1), graph(name)
    box = Box(*Linf(eps).hull(x))
    with torch.no_grad():
        known = boxes(found, box, rigorous=True)
        values = found.constants.bind(torch.float64, torch.device("cpu"))
        mine = Picture.of(found, values, known, equalities=equalities)
    return mine, samples(box.lower, box.upper, 12)[:, 0]


def numbers(mine, points):
    """The value of every unit of the graph at points, (n, count)."""
    with torch.no_grad():
        walked = mine.graph.walk(
            points, lambda node, each, values: node.op.forward(each, values), like=points
        )
    return torch.cat([each.flatten(1) for each in walked], 1)


@pytest.mark.parametrize("equalities", [False, True])
@pytest.mark.parametrize("eps", [1e-4, 0.02])
@pytest.mark.parametrize("name", NETS)
def test_an_expression_has_the_value_of_its_rows(name, eps, equalities):
    mine, points = picture(name, eps, equalities=equalities)
    value, start = numbers(mine, points), mine.start
    for node in mine.graph.nodes[1::3]:
        rows = torch.randn(3, *node.shape, generator=torch.Generator().manual_seed(1)).double()
        with torch.no_grad():
            found = mine.expressions(rows, node.place)
        wanted = value[:, start[node.place] : start[node.place + 1]] @ rows.flatten(1).T
        row, column, weight = found.entries
        total = found.constant + torch.zeros_like(wanted).index_add(
            1, row, value[:, column] * weight
        )
        torch.testing.assert_close(total, wanted, atol=1e-9, rtol=1e-9)
        assert ((found.slack > 0) & (found.slack < 1e-9)).all()


def test_columns_are_inputs_and_open_units():
    mine, _ = picture("conv", 0.02)
    rows = torch.eye(5).double()
    with torch.no_grad():
        column = mine.expressions(rows, len(mine.graph.nodes) - 1).entries.column
    allowed = torch.zeros(mine.start[-1], dtype=torch.bool)
    allowed[: mine.start[1]] = True
    for place, open_ in mine.open.items():
        allowed[mine.start[place] : mine.start[place + 1]] = open_.flatten()
    assert allowed[column].all()
    assert not allowed.all()


def test_units_that_are_on_may_have_columns_of_their_own():
    plain, _ = picture("conv", 0.002)
    sparse, _ = picture("conv", 0.002, equalities=True)
    place = next(iter(plain.open))
    on = plain.boxes[plain.graph.nodes[place].inputs[0]].lower >= 0
    assert torch.equal(sparse.stops[place], plain.open[place] | on)
    rows = torch.randn(4, *plain.graph.nodes[place + 1].shape).double()
    with torch.no_grad():
        dense, short = (
            each.expressions(rows[:1], place + 1).entries.column for each in (plain, sparse)
        )
    assert dense.min() < plain.start[1]
    assert short.min() >= plain.start[1]


def test_rivals_of_a_maximum_and_of_a_minimum():
    first = Box(*torch.tensor([[[0.0, 0.0, 5.0]], [[1.0, 2.0, 6.0]]]))
    second = Box(*torch.tensor([[[2.0, 1.0, 0.0]], [[3.0, 3.0, 1.0]]]))
    kept, sure = rivals(Maximum(), [first, second])
    assert kept[0].tolist() == [[False, True, True], [True, True, False]]
    assert sure.tolist() == [[3, 4, 2]]
    kept, sure = rivals(Minimum(), [first, second])
    assert kept[0].tolist() == [[True, True, False], [False, True, True]]
    assert sure.tolist() == [[0, 1, 5]]
    lows, highs = reaches(Minimum(), [first, second])
    assert lows[0, 0].tolist() == [-1, -2, -6]
    assert highs[0, 1].tolist() == [-2, -1, 0]
    assert places(Maximum(), [first.lower.shape] * 2)[0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_boxes_are_those_of_intervals():
    mine, _ = picture("residual", 0.01)
    bound = Interval().bound(mine.graph, inputs(1), Linf(0.01), torch.eye(5))
    assert (mine.boxes[-1].lower <= bound.lower + 1e-9).all()
