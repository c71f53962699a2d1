import pytest
import torch

from certify.intervals import moderate
from holdfast.certify.operators.piecewise_lines import bent_lines, clamp_lines, relu_lines
from holdfast.certify.rounding import Box


def box(*pairs):
    lower, upper = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return Box(lower, upper)


def columns(lines):
    return [each.tolist() for each in lines]


def test_relu_lines_follow_the_table():
    """Off, on, across; touching zero from either side; a point."""
    cases = box((-2, -1), (1, 2), (-1, 3), (-3, 1), (0, 2), (-2, 0), (0, 0))
    low, below, high, above = columns(relu_lines(cases, adaptive=False))
    assert low == high == pytest.approx([0, 1, 0.75, 0.25, 1, 0, 1], abs=1e-14)
    assert below == [0] * 7
    assert above == pytest.approx([0, 0, 0.75, 0.75, 0, 0, 0], abs=1e-13)
    assert above[:2] == [0, 0]
    assert columns(relu_lines(cases))[0] == [0, 1, 1, 0, 1, 0, 1]
    given = relu_lines(cases, slope=torch.full((7,), 0.4, dtype=torch.float64))
    assert columns(given)[0] == [0, 1, 0.4, 0.4, 1, 0, 1]


def test_relu_lines_are_those_of_a_bend():
    low, width = moderate(200)
    cases = Box(low, low + width)
    for options in ({}, {"adaptive": False}, {"slope": torch.full_like(low, 0.3)}):
        for first, second in zip(
            relu_lines(cases, **options), bent_lines(0.0, cases, **options), strict=True
        ):
            torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("adaptive", [True, False])
def test_gradients_at_zero_are_finite(adaptive):
    """Also of a unit that is always zero."""
    ends = [torch.zeros(3, requires_grad=True) for _ in range(2)]
    lines = relu_lines(Box(*ends), adaptive=adaptive)
    sum(each.sum() for each in lines if each.requires_grad).backward()
    assert all(end.grad.isfinite().all() for end in ends)


def test_no_common_slope_has_a_smaller_gap_than_the_chord():
    """The gap of slope d around a ReLU is max(-d l, (1 - d) u)."""
    low, width = moderate(200)
    cases = Box(low, low + width)
    lines = bent_lines(0.0, cases, adaptive=False)
    gap = lines.upper_intercept - lines.lower_intercept
    d = torch.linspace(0, 1, 301, dtype=torch.float64).unsqueeze(1)
    scanned = torch.maximum(-d * cases.lower, (1 - d) * cases.upper).amin(0).clamp(min=0)
    crossing = (cases.lower < 0) & (cases.upper > 0)
    assert (gap <= scanned + 1e-12)[crossing].all()
    assert (gap >= scanned - 0.02)[crossing].all()


@pytest.mark.parametrize("left", [0.0, 0.1, -1.0, 1.5])
def test_adaptive_lines_leave_the_smallest_area(left):
    cases = box((-1, 3), (-3, 1), (-0.2, 0.1), (-5, 5.1))
    mean, width = (cases.lower + cases.upper) / 2, cases.upper - cases.lower

    def area(lines):
        slope = lines.upper_slope - lines.lower_slope
        return width * (slope * mean + lines.upper_intercept - lines.lower_intercept)

    best = area(bent_lines(left, cases))
    for at in (0.0, 0.25, 0.5, 1.0):
        slope = torch.full_like(mean, at)
        assert (best <= area(bent_lines(left, cases, slope=slope)) + 1e-12).all()
    assert (best <= area(bent_lines(left, cases, adaptive=False)) + 1e-12).all()


def test_the_slope_of_a_leaky_relu_keeps_all_its_bits():
    lines = bent_lines(0.01, box((-2, -1), (-2, 1)))
    assert lines.lower_slope.tolist() == [0.01, 0.01]


def conjugate(lines, v):
    """Upper bound of hardtanh(z) v - slope z v: the h of the dual layer."""
    return torch.where(v > 0, lines.upper_intercept, lines.lower_intercept) * v


def test_parallel_hardtanh_is_the_corrected_dual_layer():
    """Slope and h of each case, and equality with the largest value over the interval."""
    low, width = moderate(400)
    cases = Box(low, low + width)
    lower, upper = cases
    lines = clamp_lines(-1.0, 1.0, cases, adaptive=False)
    most = torch.maximum(upper, -lower)
    slopes = torch.select_scatter(torch.zeros(5, 400, dtype=torch.float64), 2 / (1 + most), 0, 0)
    slopes[2], slopes[3] = 1, (1 + upper) / (upper - lower)
    slopes[4] = (1 - lower) / (upper - lower)
    kind = torch.full((400,), 1)
    kind[(lower < -1) & (upper > 1)] = 0
    kind[(lower >= -1) & (upper <= 1)] = 2
    kind[(lower < -1) & (upper > -1) & (upper <= 1)] = 3
    kind[(lower >= -1) & (lower < 1) & (upper > 1)] = 4
    assert set(kind.tolist()) == {0, 1, 2, 3, 4}
    expected = slopes.gather(0, kind.unsqueeze(0))[0]
    torch.testing.assert_close(lines.upper_slope, expected, rtol=1e-13, atol=0)
    for sign in (1.0, -0.7):
        v = torch.full_like(lower, sign)
        h = conjugate(lines, v)
        both = (most - 1) / (most + 1) * v.abs()
        torch.testing.assert_close(h[kind == 0], both[kind == 0], rtol=0, atol=1e-13)
        z = torch.lerp(lower, upper, torch.linspace(0, 1, 501, dtype=torch.float64).unsqueeze(1))
        bends = torch.tensor([[-1.0], [1.0]]).double().clamp(lower, upper)
        z = torch.cat([z, lower[None], upper[None], bends])
        largest = (z.clamp(-1, 1) * v - expected * v * z).amax(0)
        torch.testing.assert_close(h, largest, rtol=1e-12, atol=1e-12)


def test_the_printed_dual_layer_would_not_be_sound():
    """With max(u, l) for max(u, -l), as printed, the value at the lower end is cut off."""
    lower, upper = -3.0, 1.5
    most = max(upper, lower)
    slope, h = 2 / (1 + most), (most - 1) / (most + 1)
    assert -1 - slope * lower > h
    good = clamp_lines(-1.0, 1.0, box((lower, upper)), adaptive=False)
    assert good.upper_slope.item() == 0.5
    assert good.upper_intercept.item() == pytest.approx(0.5)


def test_a_clamp_follows_its_bends():
    """Below, above, between; across the lower limit, the upper one, and both."""
    cases = box((-3, -2), (3, 4), (-0.5, 0.5), (-2, 0), (0, 2), (-3, 2), (-5, 1.5))
    low, below, high, above = columns(clamp_lines(-1.0, 1.0, cases))
    assert low == pytest.approx([0, 0, 1, 0, 0.5, 2 / 3, 0])
    assert below == pytest.approx([-1, 1, 0, -1, 0, -1 / 3, -1])
    assert high == pytest.approx([0, 0, 1, 0.5, 0, 0.5, 1 / 3])
    assert above == pytest.approx([-1, 1, 0, 0, 1, 0.5, 2 / 3])


def test_a_clamp_at_zero_is_a_relu():
    low, width = moderate(200)
    cases = Box(low, low + width)
    for options in ({}, {"adaptive": False}, {"slope": torch.full_like(low, 0.3)}):
        for first, second in zip(
            clamp_lines(0.0, None, cases, **options), bent_lines(0.0, cases, **options), strict=True
        ):
            torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
