"""What may enter: inputs in the box, labels that are classes; each refusal says what to do.

An input outside [0, 1] is nearly always one that was normalised. Radii are in input units, so a
normalised input would change what every radius means: it is refused, not rescaled.
"""

from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described

Box = tuple[float, float]


def check_inputs(x: Tensor, box: Box | None = (0.0, 1.0), *, argument: str = "x") -> Tensor:
    """The inputs (N, *E) as float32, if all are finite and lie in the box (None: any).

    Raises:
        InputError: not float, no feature axis, empty, NaN or infinite, outside the box.
    """
    shown = described(f"{x.dtype} of shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InputError(argument, shown, "is not float", "give floats in [0, 1], x.float() / 255")
    if x.ndim < 2:
        raise InputError(argument, shown, "has no features", "give inputs of shape (N, ...)")
    if x.numel() == 0:
        raise InputError(argument, shown, "is empty", "give at least one example")
    x = x.detach().to(torch.float32)
    low, high = (value.item() for value in x.aminmax())
    if not (abs(low) < float("inf") and abs(high) < float("inf")):
        row = int((~x.reshape(len(x), -1).isfinite()).any(dim=1).nonzero()[0])
        found = described(f"example {row}")
        raise InputError(argument, found, "holds NaN or infinity", "remove or repair it")
    if box is not None and not (box[0] <= low and high <= box[1]):
        raise _outside(argument, low, high, box)
    return x


def check_labels(
    y: Tensor, classes: int | None = None, *, rows: int | None = None, argument: str = "y"
) -> Tensor:
    """The labels (N,) as int64, if they are whole numbers from 0, below `classes` where given.

    Args:
        rows: how many inputs there are; None does not compare.

    Raises:
        InputError: not whole numbers, wrong shape or number, empty, negative, too large.
    """
    shown = described(f"{y.dtype} of shape {tuple(y.shape)}")
    if y.ndim == 2 and y.shape[1] > 1:
        raise InputError(argument, shown, "is not one label each", "give y.argmax(dim=1)")
    if y.ndim != 1:
        raise InputError(argument, shown, "is not one label each", "give labels of shape (N,)")
    if y.dtype == torch.bool or y.is_floating_point() or y.is_complex():
        raise InputError(argument, shown, "is not whole numbers", "give class numbers, y.long()")
    if rows is not None and len(y) != rows:
        raise InputError(argument, shown, f"does not fit {rows} inputs", "give one label each")
    if len(y) == 0:
        raise InputError(argument, shown, "is empty", "give at least one example")
    y = y.detach().to(torch.int64)
    low, high = int(y.amin()), int(y.amax())
    if low < 0:
        where = described(f"label {low} of example {int((y < 0).nonzero()[0])}")
        raise InputError(argument, where, "is negative", "give classes numbered from 0")
    if classes is not None and high >= classes:
        where = described(f"label {high} of example {int((y >= classes).nonzero()[0])}")
        raise InputError(
            argument, where, f"is not one of {classes} classes", f"give 0 to {classes - 1}"
        )
    return y


def check_limit(limit: Any, size: int) -> int:
    """How many of `size` examples to take.

    Raises:
        InputError: not a whole number, below 1, above `size`.
    """
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InputError("limit", limit, "is no number of examples", "give a whole number from 1")
    if limit > size:
        raise InputError("limit", limit, f"is more than the {size} examples", f"give 1 to {size}")
    return limit


def _outside(argument: str, low: float, high: float, box: Box) -> InputError:
    found = described(f"values from {low:.4g} to {high:.4g}")
    if box == (0.0, 1.0) and low >= 0 and 1.5 < high <= 255:
        remedy = "divide by 255: radii are in input units"
    else:
        remedy = "leave normalisation to the model (models.Normalize): radii are in input units"
    return InputError(argument, found, f"lie outside [{box[0]:g}, {box[1]:g}]", remedy)
