"""Errors that a user can act on: one line, naming the argument, its value and the remedy.

The command prints the message and exits with `exit_code`; the library raises. Nothing here imports
torch.
"""

from collections.abc import Iterable
from difflib import get_close_matches

_SHOWN = 80


class HoldfastError(Exception):
    """Base of every error that holdfast raises on purpose; `str(error)` is one line."""

    exit_code = 2


class InputError(HoldfastError, ValueError):
    """A value from outside cannot be used.

    Args:
        argument: the name of the argument, flag or key, as the user wrote it.
        value: what was given; shown shortened.
        problem: what is wrong with it.
        remedy: what to give instead.

    Example:
        >>> print(InputError("limit", -3, "is negative", "give a whole number from 1"))
        limit=-3: is negative; give a whole number from 1
    """

    def __init__(self, argument: str, value: object, problem: str, remedy: str):
        self.argument, self.value, self.problem, self.remedy = argument, value, problem, remedy
        super().__init__(f"{argument}={shorten(value)}: {problem}; {remedy}")


class CaptureError(HoldfastError):
    """A model holds an operation that is not known; the message names it and where it stands."""


class UnsupportedThreat(HoldfastError):
    """A method does not support this threat; the message names both and what to use instead."""


class MissingExtra(HoldfastError, ImportError):
    """An optional package is absent or broken; the message names the extra and the cause."""


class RunConflict(HoldfastError):
    """A run directory cannot be used as asked: locked, finished, or made with other settings."""


class OutOfMemory(HoldfastError):
    """One block does not fit into memory; the message says which flag makes it smaller."""


def shorten(value: object) -> str:
    """The value as one line of at most 80 characters: `repr`, without its middle if too long."""
    text = value if isinstance(value, _Raw) else repr(value)
    text = " ".join(text.split())
    half = _SHOWN // 2
    return text if len(text) <= _SHOWN else f"{text[: half - 2]}...{text[1 - half :]}"


class _Raw(str):
    """A description that is shown as it is, without quotes."""


def described(text: str) -> str:
    """Marks a description (`a tensor of shape (3, 4)`), shown without quotes in an error."""
    return _Raw(text)


def unknown_name(argument: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not among `known`, with the nearest one.

    Example:
        >>> print(unknown_name("attack", "pgdd", ["fgsm", "pgd"]))
        attack='pgdd': is not known; did you mean 'pgd'?
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(names)}"
    return InputError(argument, name, "is not known", remedy)
