import inspect

import pytest

from holdfast.core.errors import InputError
from holdfast.models.options import Classes, ImageShape, constructor, halved


@constructor
def toy(*, input_shape: ImageShape = (1, 7, 6), classes: Classes = 5) -> tuple[object, int]:
    """A constructor that returns what it was given."""
    return input_shape, classes


def test_a_constructor_normalises_what_json_makes_of_its_options():
    assert toy(input_shape=[2, 7, 6], classes=3) == ((2, 7, 6), 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": 1}, "classes=1: is not >= 2"),
        ({"classes": 2.5}, "classes=2.5: is not a whole number"),
        ({"input_shape": (1, 0, 6)}, "input_shape[1]=0: is not >= 1"),
        ({"input_shape": (7, 6)}, "input_shape=(7, 6): has 2 items; give 3"),
        ({"clases": 3}, "option of toy='clases': is not known; did you mean 'classes'?"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(options, said):
    with pytest.raises(InputError) as error:
        toy(**options)
    assert str(error.value).startswith(said)


def test_a_constructor_keeps_its_signature():
    assert list(inspect.signature(toy).parameters) == ["input_shape", "classes"]


def test_halving_rounds_down_and_stops_at_one():
    assert [halved(7, times) for times in range(3)] == [7, 3, 1]
    with pytest.raises(InputError, match="too small to be halved 3 times"):
        halved(7, 3)
