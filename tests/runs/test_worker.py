import multiprocessing

import pytest

from holdfast.core.errors import HoldfastError, InputError, MissingExtra, RunConflict
from holdfast.runs.worker import Answer, Failure, work


def travelled(error):
    """The error after the way through a pipe."""
    here, there = multiprocessing.Pipe(duplex=False)
    try:
        raise error
    except BaseException as raised:
        there.send(Failure.of(raised))
    return here.recv().rebuilt()


@pytest.mark.parametrize(
    "error",
    [
        InputError("limit", -3, "is negative", "give a whole number from 1"),
        InputError("model", {"a": object}, "is odd", "give another"),
        RunConflict("in use"),
        MissingExtra("torchvision is absent"),
        HoldfastError("ended"),
        KeyError("x"),
        FileNotFoundError(2, "No such file", "a/b"),
        KeyboardInterrupt(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
)
def test_errors_keep_their_class_and_message(error):
    got = travelled(error)
    assert type(got) is type(error)
    assert str(got) == str(error)
    assert hasattr(got, "__notes__") is not isinstance(error, HoldfastError)


def test_plain_values_of_an_input_error_survive():
    assert travelled(InputError("limit", -3, "is negative", "x")).value == -3


def test_foreign_errors_become_runtime_errors_with_their_traceback():
    class Odd(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one}{two}")

    got = travelled(Odd("a", "b"))
    assert type(got) is RuntimeError
    assert str(got) == "Odd: ab"
    assert "raise error" in got.__notes__[0]
    assert type(travelled(SystemExit(3))) is RuntimeError


def test_work_sends_one_answer():
    here, there = multiprocessing.Pipe(duplex=False)
    work(there, divmod, (7, 3))
    assert here.recv() == Answer(result=(2, 1))
    work(there, divmod, (7, 0))
    assert here.recv().failure.kind == "ZeroDivisionError"
    here.close()
    work(there, divmod, (7, 3))  # nobody is left to tell
