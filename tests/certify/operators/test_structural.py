import torch

from certify.nets import SHAPE, Function, inputs, samples
from holdfast.certify import capture
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.operators.selections import MaxPool
from holdfast.certify.operators.structural import (
    Add,
    Concatenate,
    Negate,
    ReLU,
    Subtract,
)
from holdfast.certify.rounding import Box


def _box(function, low, high):
    """The rigorous interval of a function at 3 examples between two numbers of each."""
    x = inputs(3)
    graph = capture(Function(function), SHAPE)
    return graph, boxes(graph, Box(x - low, x + high), rigorous=True)[-1], x


def test_a_difference_takes_opposite_ends():
    graph, box, x = _box(lambda x: torch.relu(x) - torch.clamp(x, -1, 1), 0.1, 0.2)
    assert isinstance(graph.nodes[-1].op, Subtract)
    lower = (x - 0.1).relu() - (x + 0.2).clamp(-1, 1)
    upper = (x + 0.2).relu() - (x - 0.1).clamp(-1, 1)
    torch.testing.assert_close(box.lower, lower, atol=1e-14, rtol=0)
    torch.testing.assert_close(box.upper, upper, atol=1e-14, rtol=0)
    assert (box.lower < lower).all()


def test_a_negation_exchanges_the_ends_exactly():
    graph, box, x = _box(lambda x: -x, 0.1, 0.2)
    assert isinstance(graph.nodes[-1].op, Negate)
    assert torch.equal(box.lower, -(x + 0.2))
    assert torch.equal(box.upper, -(x - 0.1))


def test_a_residual_adds_ends_and_its_rounding():
    graph, box, x = _box(lambda x: x + torch.relu(x - 0.5), 0.1, 0.2)
    assert isinstance(graph.nodes[-1].op, Add)
    torch.testing.assert_close(box.lower, x - 0.1 + (x - 0.6).relu(), atol=1e-14, rtol=0)
    assert (box.lower < x - 0.1 + (x - 0.6).relu()).all()


def test_selection_and_movement_do_not_round():
    for function, kind in (
        (torch.relu, ReLU),
        (lambda x: torch.nn.functional.max_pool2d(x, 2), MaxPool),
        (lambda x: torch.cat([x, x], 1), Concatenate),
    ):
        graph, box, x = _box(function, 0.1, 0.2)
        assert isinstance(graph.nodes[-1].op, kind)
        assert torch.equal(box.lower, function(x - 0.1))
        assert torch.equal(box.upper, function(x + 0.2))


def test_shared_inputs_lose_their_correlation_and_stay_sound():
    _, box, x = _box(lambda x: x - x, 0.1, 0.2)
    points = samples(x - 0.1, x + 0.2, 20)
    assert ((box.lower <= points - points) & (points - points <= box.upper)).all()
    torch.testing.assert_close(box.upper, torch.full_like(x, 0.3), atol=1e-14, rtol=0)


def test_joints_give_each_input_its_rows():
    """With an input that broadcasts, whose rows are summed, and a join along the last axis."""
    rows = inputs(4, (2, 3))
    first, second = Subtract().pulls(rows, [(2, 3), (2, 1)])
    assert torch.equal(first, rows)
    torch.testing.assert_close(second, -rows.sum(2, keepdim=True))
    assert all(torch.equal(each, rows) for each in Add().pulls(rows, [(2, 3), (2, 3)]))
    first, second = Concatenate(-1).pulls(rows, [(2, 1), (2, 2)])
    assert torch.equal(torch.cat([first, second], 2), rows)
