import pytest
import torch
from torch import nn

from certify.complete.test_branch_and_bound import Cube, chain, random
from certify.nets import inputs
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.input_boxes import InputBoxes
from holdfast.certify.graphs.graph import capture
from holdfast.certify.rounding import Box


def parts(x, radius, count=5):
    """Boxes within the cube."""
    generator = torch.Generator().manual_seed(1)
    ends = torch.rand(2, count, x.numel(), generator=generator, dtype=torch.float64)
    ends = x.flatten() - radius + 2 * radius * ends.sort(0).values
    return Box(*ends)


def pooling(seed):
    net = nn.Sequential(
        nn.Linear(3, 8),
        nn.Tanh(),
        nn.Unflatten(1, (2, 2, 2)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2, 4),
        nn.LeakyReLU(0.1),
        nn.Linear(4, 2),
    )
    return random(net, seed)


def test_bounds_hold_for_samples_of_each_box():
    x = inputs(1, (3,))
    for net in (chain(0), chain(1, 2.0), pooling(2)):
        program = condensed(capture(net, (3,)), x, Cube(0.7))
        box = parts(x, 0.7)
        lower, slopes = InputBoxes(program, box).outputs()
        shares = torch.rand(200, 5, 3, generator=torch.Generator().manual_seed(2)).double()
        points = box.lower + shares * (box.upper - box.lower)
        outputs = net(points.flatten(0, 1)).view(200, 5, 2)
        assert (outputs >= lower - 1e-12).all()
        assert slopes.shape == (5, 2, 3)


@pytest.mark.slow
def test_each_box_is_about_as_tight_as_crown_alone():
    net, x = chain(1), inputs(1, (3,))
    program = condensed(capture(net, (3,)), x, Cube(0.7))
    box = parts(x, 0.7)
    lower, _ = InputBoxes(program, box).outputs()
    for i in range(5):
        center, radius = (box.lower[i] + box.upper[i]) / 2, (box.upper[i] - box.lower[i]) / 2

        class Own(Cube):
            def hull(self, x, i=i):
                return box.lower[i : i + 1], box.upper[i : i + 1]

            def support(self, v, x, radius=radius):
                return v @ x[0] + v.abs() @ radius

        crown = CROWN(schedule="plain").bound(net, center.unsqueeze(0), Own(0.0), torch.eye(2))
        assert (lower[i] >= crown.lower[0] - 1e-9).all()


def test_what_a_larger_box_has_shown_helps():
    net, x = chain(1, 1.5), inputs(1, (3,))
    program = condensed(capture(net, (3,)), x, Cube(0.7))
    whole = Box(x - 0.7, x + 0.7)
    first = InputBoxes(program, whole)
    half = Box(whole.lower, whole.upper - torch.tensor([[0.7, 0.0, 0.0]]).double())
    alone, helped = InputBoxes(program, half), InputBoxes(program, half, first.known)
    assert (helped.outputs()[0] >= alone.outputs()[0] - 1e-9).all()
    assert (helped.known.lower >= first.known.lower).all()
    assert (helped.known.upper <= first.known.upper).all()


def test_forms_above_lie_above():
    net, x = chain(0), inputs(1, (3,))
    program = condensed(capture(net, (3,)), x, Cube(0.5))
    boxes = InputBoxes(program, Box(x - 0.5, x + 0.5))
    (high,) = boxes.pulled(program.outputs, torch.zeros(2, dtype=torch.long), (-1,))
    assert torch.equal(-high.columns[:, :3].neg(), high.columns[:, :3])
    points = x + torch.rand(99, 3, generator=torch.Generator().manual_seed(2)).double() - 0.5
    assert (net(points) <= -high.lower).all()


def test_pieces_of_lists_change_nothing():
    net, x = chain(1), inputs(1, (3,))
    program = condensed(capture(net, (3,)), x, Cube(0.7))
    box = parts(x, 0.7)
    whole, cut = InputBoxes(program, box).outputs(), InputBoxes(program, box, memory=1).outputs()
    torch.testing.assert_close(whole, cut, atol=1e-9, rtol=0)
