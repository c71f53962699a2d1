import pytest
import torch

from certify.intervals import OPS, gaps, grid, hard, moderate
from certify.nets import inputs
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.smooth_lines import (
    ARCTAN,
    SIGMOID,
    TANH,
    s_lines,
    touching,
    upper_intercept,
)
from holdfast.certify.rounding import Box

CURVES = {"sigmoid": SIGMOID, "tanh": TANH, "arctan": ARCTAN}
each_curve = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)
GOLDEN = [
    (SIGMOID, -2, -0.5, 0.172225, -1.259160, 0.437978, 0.562022, 0.463653),
    (SIGMOID, -1, 2, 0.203952, -0.917774, 0.472593, 0.527407, 0.472893),
    (SIGMOID, 0.5, 3, 0.132046, -1.684083, 0.378932, 0.621068, 0.556436),
    (TANH, -2, -0.5, 0.334607, -1.143879, -0.432966, 0.432966, -0.294814),
    (TANH, -1, 2, 0.575207, -0.778355, -0.204046, 0.204046, -0.186387),
    (TANH, 0.5, 3, 0.213175, -1.407826, -0.586918, 0.586918, 0.355530),
]


def one(lower, upper):
    return Box(*(torch.tensor([end], dtype=torch.float64) for end in (lower, upper)))


@pytest.mark.parametrize(("curve", "l", "u", "d", "t", "low", "high", "chord"), GOLDEN)
def test_parallel_lines_have_the_tabulated_numbers(curve, l, u, d, t, low, high, chord):
    """Thesis of Liu 2022, Eq. 3.5 with Table 3.1."""
    lines = s_lines(curve, one(l, u), adaptive=False)
    assert lines.lower_slope.item() == lines.upper_slope.item() == pytest.approx(d, abs=1e-6)
    assert -curve.contact(lines.upper_slope).item() == pytest.approx(t, abs=1e-6)
    below, above = low if l < 0 else chord, chord if u <= 0 else high
    assert lines.lower_intercept.item() == pytest.approx(below, abs=1e-6)
    assert lines.upper_intercept.item() == pytest.approx(above, abs=1e-6)


@each_curve
def test_curves_are_what_they_say(curve):
    z = torch.linspace(0, 6, 61, dtype=torch.float64)
    (value,) = torch.autograd.grad(curve.value(leaf := z.clone().requires_grad_()).sum(), leaf)
    torch.testing.assert_close(curve.derivative(z), value, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(curve.touch(curve.derivative(z)), z, rtol=0, atol=1e-7)
    torch.testing.assert_close(
        curve.value(z) + curve.value(-z), torch.full_like(z, curve.total), rtol=0, atol=1e-15
    )
    assert curve.derivative(z).argmax() == 0
    assert curve.derivative(z[0]) == curve.steepest


@each_curve
def test_a_contact_outside_the_interval_gives_way_to_the_chord(curve):
    """Across zero but mostly on one side, the tangent of the short side would lie outside."""
    lines = s_lines(curve, one(-3.0, 0.01), adaptive=False)
    assert curve.contact(lines.upper_slope).item() > 0.01
    line = lines.upper_slope * 0.01 + lines.upper_intercept
    assert line.item() == pytest.approx(curve.value(torch.tensor(0.01)).item(), abs=1e-7)


@each_curve
def test_tight_lines_across_zero_go_through_the_ends(curve):
    low, high, lines = -2.0, 3.0, s_lines(curve, one(-2.0, 3.0))
    ends = [curve.value(torch.tensor(end, dtype=torch.float64)).item() for end in (low, high)]
    line = lines.upper_slope * low + lines.upper_intercept
    assert line.item() == pytest.approx(ends[0], abs=1e-8)
    line = lines.lower_slope * high + lines.lower_intercept
    assert line.item() == pytest.approx(ends[1], abs=1e-8)
    assert lines.upper_slope < curve.steepest


@each_curve
def test_tight_upper_lines_are_lowest_at_the_near_end(curve):
    """No sound line lies lower at l: among tangents and the chord, the one through (l, op(l))."""
    low, width = moderate(200)
    cases = Box(low, low + width)
    mixed = (cases.lower < 0) & (cases.upper > 0)
    lines = s_lines(curve, cases)
    at_end = lines.upper_slope * cases.lower + lines.upper_intercept - curve.value(cases.lower)
    assert at_end[mixed].max() < 1e-6
    at_end = curve.value(cases.upper) - lines.lower_slope * cases.upper - lines.lower_intercept
    assert at_end[mixed].max() < 1e-6


@each_curve
def test_given_positions_move_the_contact_to_the_far_end(curve):
    cases = one(0.5, 2.0)
    for at, point in ((0.0, 0.5), (0.5, 1.25), (1.0, 2.0)):
        lines = s_lines(curve, cases, slope=torch.tensor([at], dtype=torch.float64))
        steep = curve.derivative(torch.tensor(point, dtype=torch.float64)).item()
        assert lines.upper_slope.item() == pytest.approx(steep, abs=1e-14)
    assert touching(one(-1.0, 1.0)).item() == 0
    assert touching(cases).item() == 0.5


@each_curve
def test_the_widest_intervals_have_the_limits_as_lines(curve):
    lines = s_lines(curve, one(-1e300, 1e300), adaptive=False)
    limits = [curve.value(torch.tensor(end, dtype=torch.float64)).item() for end in (-1e300, 1e300)]
    assert lines.lower_slope.item() < 1e-299
    assert lines.lower_intercept.item() >= 1.01 * limits[0] - 1.01 * (limits[1] - limits[0])
    assert lines.upper_intercept.item() <= 1.01 * limits[1] + 1.01 * (limits[1] - limits[0])


@pytest.mark.parametrize("name", CURVES)
def test_an_upper_line_is_sound_at_any_slope_and_point(name):
    """Also where the point is no point of contact, and the slope no slope of the curve."""
    box = hard()
    count = len(box.lower)
    for seed in range(3):
        slope, point = inputs(2, (count,), seed=seed)
        slope, point = slope.pow(4) * 2, point * torch.tensor([1.0, 6.0, 300.0])[seed]
        intercept = upper_intercept(CURVES[name], box, slope, point)
        lines = Lines(slope, intercept, slope, intercept)
        _, above, error = gaps(OPS[name], lines, grid(box))
        assert (above >= -error).all()
