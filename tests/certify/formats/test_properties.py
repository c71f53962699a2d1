import pytest
import torch

from certify.nets import graph, inputs
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.formats.properties import Case, Property, by_box, excesses
from holdfast.core.errors import InputError
from holdfast.threats import Linf


def case(low, high, rows, limits):
    parts = [torch.tensor(each, dtype=torch.float64) for each in (low, high, rows, limits)]
    return Case(*parts)


TWO = Property(
    2,
    3,
    (
        case([0.0, 0.0], [1.0, 1.0], [[1.0, -1.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 2.0]),
        case([5.0, 5.0], [6.0, 6.0], [[-1.0, 0.0, 0.0]], [-4.0]),
    ),
)


@pytest.mark.parametrize(
    ("x", "y", "unsafe"),
    [
        ([0.0, 1.0], [1.0, 1.0, 2.0], True),  # on every limit
        ([0.0, 1.0], [1.0, 1.0, 2.5], False),  # one constraint fails
        ([0.0, 1.5], [1.0, 1.0, 2.0], False),  # outside of the box
        ([5.5, 5.5], [4.5, 9.0, 9.0], True),  # the second case
        ([0.5, 0.5], [4.5, 1.0, 1.0], False),  # its output in the first one's box
        ([0.5, 0.5], [float("nan"), 1.0, 1.0], False),
    ],
)
def test_unsafe_is_one_case_with_all_its_constraints(x, y, unsafe):
    found = TWO.violated(torch.tensor([x]).double(), torch.tensor([y]).double())
    assert found.tolist() == [unsafe]


def test_cases_are_grouped_by_their_boxes():
    first, second = TWO.cases
    again = case([0.0, 0.0], [1.0, 1.0], [[1.0, 0.0, 0.0]], [7.0])
    assert by_box([first, second, again]) == [[first, again], [second]]


def test_the_excess_of_a_graph_is_that_of_its_outputs():
    net = graph("conv")
    k = net.output_shape[0]
    rows = torch.randn(4, k, generator=torch.Generator().manual_seed(0)).double()
    limits = torch.tensor([0.5, -1.0, 2.0, 0.1]).double()
    box = torch.zeros(1).double(), torch.ones(1).double()
    cases = [Case(*box, rows[:3], limits[:3]), Case(*box, rows[3:], limits[3:])]
    x = inputs(3).double()
    wanted = net.forward(x) @ rows.T - limits
    longer = excesses(net, cases)
    assert torch.allclose(longer.forward(x), wanted, atol=1e-12)
    assert torch.allclose(cases[0].excess(net.forward(x)), wanted[:, :3].amax(1), atol=1e-12)
    bounds = Interval().bound(longer, x, Linf(0.0, box=None), torch.eye(4))
    assert bool(((bounds.lower <= wanted) & (wanted <= bounds.upper)).all())
    assert net.output_shape == (k,)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((1, 2), (2,))])
def test_a_property_of_another_network_is_refused(shapes):
    TWO.check_network((2, 1), (3,))
    with pytest.raises(InputError, match="does not fit a network with"):
        TWO.check_network(*shapes)


@pytest.mark.parametrize(
    ("row", "limit", "order"),
    [
        ((1.0, -1.0, 0.0), 0.0, True),
        ((0.0, 1.0, -1.0), 0.0, True),
        ((1.0, -1.0, 0.0), 0.5, False),
        ((2.0, -2.0, 0.0), 0.0, False),
        ((1.0, 0.0, 0.0), 0.0, False),
        ((1.0, -0.5, -0.5), 0.0, False),
    ],
)
def test_only_differences_of_two_outputs_without_a_limit_are_an_order(row, limit, order):
    box = torch.zeros(2, dtype=torch.float64)
    rows = torch.tensor([row], dtype=torch.float64)
    case = Case(box, box, rows, torch.tensor([limit], dtype=torch.float64))
    assert Property(2, 3, (case,)).compares is order
