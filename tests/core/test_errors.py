import pickle

import pytest

from holdfast.core import errors
from holdfast.core.errors import HoldfastError, InputError, described, shorten, unknown_name


def test_the_message_names_argument_value_problem_and_remedy():
    error = InputError("eps", 80, "is above 1", "give a radius in input units")
    assert str(error) == "eps=80: is above 1; give a radius in input units"
    assert (error.argument, error.value) == ("eps", 80)


def test_the_message_is_one_line_whatever_the_value():
    error = InputError("text", "a\nb\n" * 500, "is long", "give a short one")
    assert "\n" not in str(error)
    assert len(str(error)) < 130


def test_descriptions_are_shown_without_quotes():
    assert shorten(described("a tensor of shape (3,)")) == "a tensor of shape (3,)"
    assert shorten("a text") == "'a text'"
    assert shorten(described("two\nlines")) == "two lines"


@pytest.mark.parametrize("length", [78, 79, 300])
def test_shortened_values_fit_and_keep_both_ends(length):
    text = shorten(described("x" * (length - 35) + "y" * 35))
    assert len(text) == min(length, 80)
    assert text.startswith("x" * 35)
    assert text.endswith("y" * 35)


def test_an_unknown_name_is_answered_with_the_nearest():
    assert "did you mean 'square'?" in str(unknown_name("attack", "sqare", ["pgd", "square"]))


def test_an_unknown_name_far_from_all_is_answered_with_the_list():
    assert "known are: fgsm, pgd" in str(unknown_name("attack", "zzzzzz", ["pgd", "fgsm"]))


def test_input_errors_are_value_errors():
    with pytest.raises(ValueError, match="is negative"):
        raise InputError("limit", -3, "is negative", "give a whole number from 1")


@pytest.mark.parametrize(
    "name",
    [
        "CaptureError",
        "InputError",
        "MissingExtra",
        "OutOfMemory",
        "RunConflict",
        "UnsupportedThreat",
    ],
)
def test_every_error_is_caught_as_ours_and_exits_with_two(name):
    kind = getattr(errors, name)
    assert issubclass(kind, HoldfastError)
    assert kind.exit_code == 2


def test_plain_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(errors.RunConflict("locked")))
    assert str(error) == "locked"
