from functools import partial

import pytest
import torch

from certify.complete.test_branch_and_bound import Cube, chain
from certify.enumeration import minimum
from certify.nets import inputs
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.exploring import Network, Replay, listed
from holdfast.certify.complete.input_boxes import InputBoxes
from holdfast.certify.complete.input_search import Bisection
from holdfast.certify.graphs.graph import capture
from holdfast.certify.rounding import Box


def explored(net, x, queries, radius=0.7, ends=lambda record: False, **options):
    found = capture(net, (3,))
    program = condensed(found, x, Cube(radius))
    box = Box((x - radius).flatten(), (x + radius).flatten())
    propose = Replay(Network(found), queries, lambda points: points.clamp(*box))
    how = Bisection(**{"batch": 16, "looks": 3, "most_nodes": 4000, **options})
    return how.explore(partial(InputBoxes, program), box, found, queries, propose, ends)


@pytest.mark.parametrize("gap", [0.2, -0.2])
@pytest.mark.slow
def test_limits_around_the_minimum(gap):
    net, x = chain(1), inputs(1, (3,))
    least = minimum(capture(net, (3,)), x - 0.7, x + 0.7)
    with torch.no_grad():
        net[4].bias += gap - least
    found = explored(net, x, listed([2]))
    assert bool(found.lower > 0) == (gap > 0)
    assert found.nodes > 1
    assert found.complete == (gap > 0) or found.upper <= 0
    value = net(found.best)[0].max()
    assert float(found.upper) == pytest.approx(float(value.detach()), abs=1e-9)
    assert bool(((found.best - x).abs() <= 0.7 + 1e-12).all())


@pytest.mark.slow
def test_bounds_rise_with_the_number_of_boxes():
    net, x = chain(2, 1.5), inputs(1, (3,))
    last, exact = -torch.inf, minimum(capture(net, (3,)), x - 0.7, x + 0.7, rows=[0])
    for most in (1, 8, 40):
        found = explored(net, x, listed([1]), most_nodes=most, target=1e9)
        assert last <= float(found.lower) <= exact
        last = float(found.lower)


def test_a_point_has_nothing_to_cut():
    net, x = chain(1), inputs(1, (3,))
    with torch.no_grad():
        net[4].bias -= net(x)[0].max()
    found = explored(net, x, listed([2]), radius=0.0)
    assert found.nodes == 1
    assert not bool(found.lower > 0)


def test_it_ends_when_it_is_told():
    found = explored(chain(2), inputs(1, (3,)), listed([1]), target=1e9, ends=lambda record: True)
    assert found.nodes == 1
    assert not found.complete


class Seen:
    """Bounds that settle boxes by their volume, and remember them."""

    def __init__(self):
        self.settled = []

    def __call__(self, box, known=None):
        volume = (box.upper - box.lower).prod(1)
        done = volume < 0.1
        self.settled += zip(box.lower[done], box.upper[done], strict=True)
        self.lower = torch.where(done, 1.0, -1.0).double().unsqueeze(1)
        self.known = Box(self.lower[:, :0], self.lower[:, :0])
        return self

    def outputs(self):
        return self.lower, self.lower.new_ones(*self.lower.shape, 3)

    def above(self, number, row):
        return self.lower.new_ones(len(row), 3)


def test_halves_cover_the_box_exactly():
    seen, queries = Seen(), listed([1])
    found = capture(chain(1), (3,))
    box = Box(torch.zeros(3).double(), torch.tensor([1.0, 2.0, 0.75]).double())
    propose = lambda points, query, box=None: (torch.ones(len(points)).double(), points)  # noqa: E731
    how = Bisection(batch=4, looks=2, most_nodes=999)
    result = how.explore(seen, box, found, queries, propose, lambda record: False)
    assert result.complete
    assert float(result.lower) == 1.0
    volume = sum(float((upper - lower).prod()) for lower, upper in seen.settled)
    assert volume == pytest.approx(1.5, abs=1e-12)
    points = box.lower + torch.rand(200, 3, generator=torch.Generator().manual_seed(0)).double() * (
        box.upper - box.lower
    )
    inside = [((points >= low) & (points <= high)).all(1) for low, high in seen.settled]
    assert (torch.stack(inside).sum(0) >= 1).all()
