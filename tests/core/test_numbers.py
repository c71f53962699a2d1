import math

import pytest

from holdfast.core.errors import InputError
from holdfast.core.numbers import number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("0.3", 0.3),
        ("1e-3", 0.001),
        (" 2 / 4 ", 0.5),
        ("inf", math.inf),
        ("-1/2", -0.5),
        (3, 3.0),
        (0.25, 0.25),
    ],
)
def test_numbers_are_read_as_people_write_them(text, value):
    assert number(text) == value
    assert isinstance(number(text), float)


@pytest.mark.parametrize(
    "text", ["", "a", "1/0", "1/2/3", "1/", "/2", "nan", math.nan, True, None, [1], 1 + 2j]
)
def test_what_is_no_number_is_refused_by_name(text):
    with pytest.raises(InputError) as caught:
        number(text, "eps")
    assert caught.value.argument == "eps"
    assert "'8/255'" in str(caught.value)


def test_a_whole_number_keeps_its_value_up_to_two_to_the_53():
    assert number(2**53) == 2**53
