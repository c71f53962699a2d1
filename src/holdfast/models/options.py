"""What the constructors of networks share: the types of their options and the check of values.

A constructor is a function of keyword arguments, decorated with `constructor`: its annotations are
the schema, checked as those of every hyperparameter are.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_type_hints

from holdfast.core.errors import InputError, described, shorten, unknown_name
from holdfast.core.recipes import Count, Range, convert

ImageShape = tuple[Count, Count, Count]
InputShape = tuple[Count, ...]
Classes = Annotated[int, Range(ge=2)]
ActivationName = Literal["relu", "tanh", "sigmoid"]
InitScheme = Literal["framework", "fan-out", "he"]

P = ParamSpec("P")
T = TypeVar("T")


def constructor(function: Callable[P, T]) -> Callable[P, T]:
    """Checks and normalises the keyword arguments of a function by their annotations.

    Raises:
        InputError: on the call, for a value of a wrong type or range, or an unknown keyword.
    """
    hints = get_type_hints(function, include_extras=True)

    @wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> T:
        for name in options:
            if name not in inspect.signature(function).parameters:
                raise unknown_name(
                    f"option of {function.__name__}", name, hints.keys() - {"return"}
                )
        values: Any = {name: convert(value, hints[name], name) for name, value in options.items()}
        return function(*args, **values)

    return checked


def halved(side: int, times: int) -> int:
    """The side of a feature map after `times` layers that halve it, rounding down.

    Both a 4x4 convolution of stride 2 and padding 1 and a 2x2 pooling do so.

    Raises:
        InputError: nothing is left.

    Example:
        >>> halved(28, 2)
        7
    """
    left: int = side >> times
    if left < 1:
        raise InputError(
            "input_shape", side, f"is too small to be halved {times} times", "give larger images"
        )
    return left


def reason(cause: BaseException) -> str:
    r"""What went wrong, as one short line for an error of our own.

    Example:
        >>> reason(ValueError("two\nlines"))
        'ValueError: two lines'
    """
    return shorten(described(f"{type(cause).__name__}: {cause}"))
