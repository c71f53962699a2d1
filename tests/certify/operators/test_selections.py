import pytest
import torch
import torch.nn.functional as F

from certify.nets import inputs
from holdfast.certify.operators.selections import Maximum, MaxPool, Minimum


@pytest.mark.parametrize(
    "arguments",
    [
        (3, 2, 1, 1, True),
        (2, None, 0, 1, False),
        ((3, 2), (1, 3), (1, 0), (2, 1), False),
        ((2,), (3,), (0,), (1,), False),
    ],
)
def test_windows_hold_the_numbers_of_a_pool(arguments):
    op, x = MaxPool(F.max_pool2d, arguments), inputs(3) - 0.5
    windows = op.candidates([x], -torch.inf)
    assert torch.equal(windows.amax(1), op.forward([x], None))
    kernel = (
        arguments[0] * (3 - len(arguments[0]))
        if isinstance(arguments[0], tuple)
        else 2 * (arguments[0],)
    )
    assert windows.shape[1] == kernel[0] * kernel[1]
    assert set(windows.flatten().tolist()) <= {*x.flatten().tolist(), -torch.inf}


def test_of_two_inputs_the_larger_or_the_smaller():
    x, other = inputs(3), inputs(3, (2, 1, 6), seed=4)
    for op, choice in ((Maximum(), "amax"), (Minimum(), "amin")):
        found = getattr(op.candidates([x, other], 0.0), choice)(1)
        assert torch.equal(found, op.forward([x, other], None))
    assert Minimum().least
    assert not Maximum().least
