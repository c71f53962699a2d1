"""Properties of the lines of every scalar operation."""

import numpy as np
import pytest
import torch

from certify.intervals import OPS, gaps, grid, hard, moderate
from certify.nets import inputs
from holdfast.certify.operators.relaxation import first_slope, lines_of, selection_of, undecided
from holdfast.certify.operators.selections import Maximum
from holdfast.certify.operators.structural import Add, ReLU
from holdfast.certify.rounding import Box
from holdfast.core.errors import CaptureError

each_op = pytest.mark.parametrize("name", OPS)
RULES_OF_SLOPES = ["adaptive", "parallel", 0.0, 0.3, 1.0]


def found(op, box, rule):
    if isinstance(rule, float):
        return lines_of(op, box, slope=torch.full_like(box.lower, rule))
    return lines_of(op, box, adaptive=rule == "adaptive")


@each_op
@pytest.mark.parametrize("rule", RULES_OF_SLOPES)
def test_lines_enclose_the_operation_on_every_interval(name, rule):
    """In extended precision, so that a line that is one unit of float64 too tight would show."""
    op, box = OPS[name], hard()
    lines = found(op, box, rule)
    assert all(each.isfinite().all() for each in lines)
    below, above, error = gaps(op, lines, grid(box))
    assert (below >= -error).all()
    assert (above >= -error).all()


@each_op
@pytest.mark.parametrize("rule", RULES_OF_SLOPES)
def test_lines_touch_the_operation(name, rule):
    """No intercept is larger than its slope needs."""
    op = OPS[name]
    low, width = moderate(100)
    box = Box(low, low + width)
    below, above, _ = gaps(op, found(op, box, rule), grid(box, 501))
    assert below.min(0).max() < 1e-4
    assert above.min(0).max() < 1e-4


@each_op
def test_lines_meet_where_the_ends_do(name):
    op = OPS[name]
    low = torch.linspace(-3, 3, 61, dtype=torch.float64)
    for rule in RULES_OF_SLOPES:
        below, above, _ = gaps(op, found(op, Box(low, low), rule), grid(Box(low, low)))
        assert np.abs(below).max() < 1e-13
        assert np.abs(above).max() < 1e-13


@each_op
def test_parallel_lines_have_one_slope(name):
    low, width = moderate(300)
    lines = lines_of(OPS[name], Box(low, low + width), adaptive=False)
    torch.testing.assert_close(lines.lower_slope, lines.upper_slope, rtol=0, atol=1e-15)


@each_op
def test_first_slopes_are_those_of_the_adaptive_lines(name):
    op = OPS[name]
    low, width = moderate(300)
    box = Box(low, low + width)
    given, adaptive = lines_of(op, box, slope=first_slope(op, box)), lines_of(op, box)
    same = torch.ones_like(low, dtype=torch.bool)
    if name in ("hardtanh", "relu6", "shifted"):
        middle = (box.lower + box.upper) / 2
        same = ~((box.lower < op.low) & (box.upper > op.high))
        same |= (middle > op.low) & (middle < op.high)
    for first, second in zip(given, adaptive, strict=True):
        torch.testing.assert_close(first[same], second[same], rtol=0, atol=1e-14)


@each_op
def test_lines_are_decided_where_they_coincide(name):
    op = OPS[name]
    low, width = moderate(300)
    box = Box(torch.cat([low, low]), torch.cat([low + width, low]))
    lines = lines_of(op, box)
    equal = (lines.lower_slope == lines.upper_slope) & (
        lines.lower_intercept == lines.upper_intercept
    )
    open_ = undecided(op, box)
    assert (equal | open_ | (box.lower == box.upper)).all()
    assert not open_[300:].any()
    assert open_[:300].any()


@each_op
def test_lines_do_not_depend_on_neighbours_and_keep_the_type(name):
    op = OPS[name]
    low, width = moderate(30)
    box = Box(low.view(5, 3, 2), (low + width).view(5, 3, 2))
    whole = lines_of(op, box)
    part = lines_of(op, Box(box.lower[1:2], box.upper[1:2]))
    single = lines_of(op, Box(box.lower.float(), box.upper.float()))
    for first, second, third in zip(whole, part, single, strict=True):
        assert torch.equal(first[1:2], second)
        assert third.dtype == torch.float32
        torch.testing.assert_close(third, first.float(), rtol=1e-3, atol=1e-3)


@each_op
def test_unknown_ends_give_unknown_lines(name):
    nan = torch.tensor([torch.nan], dtype=torch.float64)
    for box in (Box(nan, nan), Box(nan, nan * 0 + 1)):
        lines = lines_of(OPS[name], box)
        assert any(each.isnan().any() for each in lines) or name in ("straight", "constant")
        assert undecided(OPS[name], box).all()


@pytest.mark.parametrize("name", ["relu", "leaky", "abs", "hardtanh", "sigmoid", "tanh", "arctan"])
def test_gradients_of_parallel_lines_are_those_of_differences(name):
    low, width = moderate(40)
    width = width.clamp(min=0.3)
    ends = [end.clone().requires_grad_() for end in (low, low + width)]
    weights = inputs(4, (40,))

    def total(lower, upper):
        lines = lines_of(OPS[name], Box(lower, upper), adaptive=False)
        return sum((weight * each).sum() for weight, each in zip(weights, lines, strict=True))

    assert torch.autograd.gradcheck(total, ends, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("name", ["relu", "abs", "hardtanh", "sigmoid", "tanh"])
def test_gradients_in_the_slope_are_those_of_differences(name):
    low, width = moderate(40)
    box = Box(low, low + width.clamp(min=0.3))
    weights = inputs(4, (40,))
    slope = (0.1 + 0.8 * inputs(1, (40,), seed=8)[0]).requires_grad_()

    def total(slope):
        lines = lines_of(OPS[name], box, slope=slope)
        return sum((weight * each).sum() for weight, each in zip(weights, lines, strict=True))

    assert torch.autograd.gradcheck(total, (slope,), eps=1e-6, atol=1e-5)


def test_slopes_of_rows_broadcast_and_are_forced_into_range():
    low, width = moderate(6)
    box = Box(low, low + width)
    slope = torch.tensor([-0.5, 0.4, 1.5], dtype=torch.float64).unsqueeze(1)
    lines = lines_of(ReLU(), box, slope=slope)
    assert lines.lower_slope.shape == (3, 6)
    crossing = undecided(ReLU(), box)
    assert torch.equal(
        lines.lower_slope[:, crossing],
        torch.tensor([[0.0], [0.4], [1.0]], dtype=torch.float64).expand(3, int(crossing.sum())),
    )


def test_an_operation_without_lines_is_named():
    box = Box(torch.zeros(1), torch.ones(1))
    for function in (lines_of, first_slope, undecided):
        with pytest.raises(CaptureError, match="Add has no linear relaxation"):
            function(Add(), box)
    with pytest.raises(CaptureError, match="Maximum"):
        lines_of(Maximum(), box)
    assert selection_of(Maximum(), [box, box]).lines.lower_slope.item() == 1
