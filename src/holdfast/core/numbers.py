"""Numbers as people write them: `0.3`, `8/255`, `1e-3`."""

import math

from holdfast.core.errors import InputError


def number(value: object, argument: str = "value") -> float:
    """The float that a number or a text such as `8/255` stands for.

    Raises:
        InputError: not a number, a division by zero, NaN.

    Example:
        >>> number("8/255")
        0.03137254901960784
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InputError(argument, value, "is not a number", "give a number such as 0.3 or '8/255'")
    try:
        above, *below = str(value).split("/")
        result = float(above) if not below else float(above) / float("/".join(below))
    except (ValueError, ZeroDivisionError):
        raise InputError(
            argument, value, "is not a number", "give a number such as 0.3 or '8/255'"
        ) from None
    if math.isnan(result):
        raise InputError(argument, value, "is not a number", "give a number such as 0.3 or '8/255'")
    return result
