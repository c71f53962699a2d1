import numpy as np
import pytest
import torch

from certify.intervals import OPS, extended, grid, hard
from holdfast.certify.operators.activations import LeakyReLU, Sigmoid, SShaped
from holdfast.certify.rounding import Box


@pytest.mark.parametrize("name", OPS)
def test_intervals_enclose_the_operation_on_every_interval(name):
    box = hard()
    found = OPS[name].interval([box], None, rigorous=True)
    with np.errstate(over="ignore"):
        values = extended(OPS[name], grid(box))
    error = 8 * np.finfo(np.longdouble).eps * np.abs(values)
    assert (values >= found.lower.numpy() - error).all()
    assert (values <= found.upper.numpy() + error).all()
    low, high = values.min(0), values.max(0)
    for gap, end in ((low - found.lower.numpy(), low), (found.upper.numpy() - high, high)):
        assert (gap <= 1e-300 + 1e-14 * np.abs(end)).all()


@pytest.mark.parametrize(
    ("slope", "low", "high"), [(-1.0, 0, 3), (-0.5, 0, 2), (0.5, -1.5, 2), (2.0, -6, 2)]
)
def test_a_bend_may_be_the_lowest_point(slope, low, high):
    ends = torch.tensor([[-3.0]], dtype=torch.float64), torch.tensor([[2.0]], dtype=torch.float64)
    found = LeakyReLU(slope).interval([Box(*ends)], None, rigorous=False)
    assert (found.lower.item(), found.upper.item()) == (low, high)


def test_the_absolute_value_does_not_round():
    box = hard()
    found = LeakyReLU(-1.0).interval([box], None, rigorous=True)
    assert torch.equal(found.upper, box.magnitude)


def test_saturation_is_not_exceeded():
    far = torch.tensor([[-1e3, 1e3]], dtype=torch.float64)
    for op in OPS.values():
        if isinstance(op, SShaped):
            found = op.interval([Box(far, far)], None, rigorous=True)
            assert found.lower.min() >= op.floor
            assert found.upper.max() <= op.ceiling
    assert repr(Sigmoid()) == "Sigmoid()"
