import pytest

from holdfast.certify.operators.calls import Call, Data, Size
from holdfast.certify.operators.constants import Constant
from holdfast.core.errors import CaptureError


def _call(**arguments):
    return Call("mul", arguments, (3,), "at 'head' (node mul_1)", lambda number: Constant(99))


def test_operands_are_the_arguments_that_depend_on_the_input():
    first, second = Data(1, (3,)), Data(4, (3,))
    assert _call(tensors=[first, second, Constant(0)], dim=1).operands == (first, second)


def test_constants_numbers_and_nothing():
    call = _call(weight=Constant(2), other=0.5, bias=None)
    assert call.constant("weight") == Constant(2)
    assert call.constant("other") == Constant(99)
    assert call.optional("bias") is None


@pytest.mark.parametrize("value", [Data(1, (3,)), Size()])
def test_what_is_not_constant_is_refused_by_name(value):
    message = r"^mul at 'head' \(node mul_1\) cannot be captured: 'other' must not depend"
    with pytest.raises(CaptureError, match=message):
        _call(other=value).constant("other")
