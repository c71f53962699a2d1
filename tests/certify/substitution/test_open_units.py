import torch

from certify.nets import inputs
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.open_units import OpenUnits


def boxed() -> Box:
    lower = inputs(3, (2, 5)) - 0.7
    return Box(lower, lower + 0.4 * inputs(3, (2, 5), seed=8))


def test_tables_are_the_lines_of_all_units():
    box, op = boxed(), ReLU()
    units = OpenUnits.of(op, box)
    fixed, adaptive = units.tables(torch.float64)
    for found, wanted in ((fixed, op.lines(box, adaptive=False)), (adaptive, op.lines(box))):
        for mine, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-12, rtol=0)
    assert 0 < len(units.index[0]) < box.lower.numel()
    assert fixed.lower_slope is fixed.upper_slope
    assert units.tables(torch.float32)[0].upper_slope.dtype == torch.float32


def test_boxes_without_open_units():
    for shift in (2.0, -2.0):
        box = Box(*(end + shift for end in boxed()))
        units = OpenUnits.of(ReLU(), box)
        assert len(units.index[0]) == 0
        for lines in units.tables(torch.float64):
            assert (lines.upper_slope == float(shift > 0)).all()
            assert not lines.upper_intercept.any()


def test_a_broken_box_is_open():
    box = boxed()
    box.lower[0, 0, 0] = box.upper[0, 0, 0] = torch.nan
    lines = OpenUnits.of(ReLU(), box).tables(torch.float64)[0]
    assert lines.upper_intercept[0, 0, 0].isnan()


def test_gradients_reach_the_box():
    lower = boxed().lower.requires_grad_()
    box = Box(lower, boxed().upper)
    lines = OpenUnits.of(ReLU(), box).tables(torch.float64)[1]
    (gradient,) = torch.autograd.grad(lines.upper_intercept.sum(), lower)
    assert (gradient != 0).any()
