import numpy as np
import pytest
import torch

from holdfast.certify.formats.onnx_values import Known, OnnxCall, Value, is_led, settled, shaped
from holdfast.core.errors import CaptureError


@pytest.mark.parametrize(
    ("shape", "led"), [((1, 5), True), ((1,), False), ((), False), ((2, 5), False)]
)
def test_a_leading_one_is_the_batch_unless_it_stands_alone(shape, led):
    assert is_led(shape) is led
    value = shaped(torch.zeros(3, *shape), shape)
    assert value.led is led
    assert value.shape == shape
    assert value.whole.shape == (3, *shape)


def test_a_result_in_the_layout_with_the_batch_is_settled():
    value = settled(torch.arange(30.0).reshape(3, 1, 2, 5), False)
    assert value.led
    assert value.tensor.shape == (3, 2, 5)
    assert torch.equal(value.tensor.flatten(), torch.arange(30.0))


def test_numbers_come_from_attributes_or_constants():
    x, axes = Value(torch.zeros(3, 5), True), np.array([1, 2])
    old = OnnxCall("Squeeze", {"axes": [1, 2]}, [x])
    new = OnnxCall("Squeeze", {}, [x, Known(axes, torch.from_numpy(axes))])
    assert old.numbers("axes", 1) == new.numbers("axes", 1) == [1, 2]
    assert OnnxCall("Squeeze", {}, [x]).numbers("axes", 1) is None


def test_a_number_that_depends_on_the_input_is_refused():
    x = Value(torch.zeros(3, 5), True)
    with pytest.raises(CaptureError, match="axes is no constant"):
        OnnxCall("Squeeze", {}, [x, x]).numbers("axes", 1)
