"""The radius of a ball: a number, one per example, or one per feature.

A number bounds ||delta||_p. So does a tensor of shape (B,), example by example. A tensor of shape
(1, *E), (B, *E), or E where E has two or more axes, holds one radius per feature and bounds
||delta / radius||_p by 1 (Liu 2022, sec 3.2: the non-uniform budget); entries 0 fix their feature.
A tensor with one axis always means one radius per example, whatever the batch size, so that a set
never depends on how many examples stand beside each other.
"""

import math

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.numbers import number

TOLERANCE = 1e-6

Radius = float | Tensor


def as_radius(value: float | str | Tensor) -> Radius:
    """The radius as a float or a float tensor, checked.

    Raises:
        InputError: negative, NaN, not a number, or an integer tensor.
    """
    remedy = "give a radius >= 0, such as 0.3 or '8/255'"
    if isinstance(value, Tensor) and (value.ndim > 0 or value.requires_grad):
        shown = described(f"tensor of shape {tuple(value.shape)}")
        if not value.is_floating_point():
            raise InputError("radius", shown, f"is of type {value.dtype}", "give a float tensor")
        if not bool((value.detach() >= 0).all()):
            raise InputError("radius", shown, "holds a negative entry or NaN", remedy)
        return value
    result = number(value.item() if isinstance(value, Tensor) else value, "radius")
    if result < 0:
        raise InputError("radius", value, "is negative", remedy)
    return result


def per_feature(radius: Radius) -> bool:
    """Whether the radius is a tensor of one radius per feature."""
    return isinstance(radius, Tensor) and radius.ndim > 1


def fitted(radius: Radius, selected: Tensor | None, like: Tensor) -> Radius:
    """The radius in a shape that broadcasts over `like` (B, *E), in its dtype; numbers as they are.

    Args:
        selected: (B,) rows of a radius per example that belong to the batch, or None for all.

    Raises:
        InputError: a tensor that fits neither the examples nor the features.
    """
    if not isinstance(radius, Tensor):
        return radius
    result = radius.to(like)
    if radius.ndim == like.ndim and selected is not None and len(radius) > 1:
        result = result[selected.to(like.device)]
    if radius.ndim == 1:
        result = result.view(-1, *(1,) * (like.ndim - 1))
    elif radius.ndim == like.ndim - 1:
        result = result.unsqueeze(0)
    if radius.ndim > 0 and not _broadcasts(result, like):
        raise InputError(
            "radius",
            described(f"tensor of shape {tuple(radius.shape)}"),
            f"does not fit inputs of shape {tuple(like.shape)}",
            f"give one per example, ({len(like)},), or per feature, {(1, *like.shape[1:])}",
        )
    return result


def flattened(radius: Radius, x: Tensor) -> Radius:
    """A fitted radius beside flat inputs (B, n): a number, (B, 1), (1, n) or (B, n)."""
    if not isinstance(radius, Tensor) or radius.ndim == 0:
        return radius
    if radius[0].numel() > 1:
        radius = radius.expand(len(radius), *x.shape[1:])
    return radius.flatten(1)


def select(radius: Radius, selected: Tensor | None, rows: Tensor) -> tuple[Radius, Tensor | None]:
    """The radius of some examples, and the selection that waits until the event's shape is known.

    Whether a tensor of several axes has shape E or (B, *E) shows only beside an input, so its
    selection is carried along and applied by `fitted`.
    """
    if not isinstance(radius, Tensor) or radius.ndim == 0:
        return radius, None
    index = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
    if radius.ndim == 1:
        return radius[index.to(radius.device)], None
    return radius, index if selected is None else selected[index.to(selected.device)]


def widened(radius: Radius) -> Radius:
    """The radius with the tolerance of membership: r + 1e-6 max(1, r)."""
    if isinstance(radius, Tensor):
        return radius + TOLERANCE * radius.clamp_min(1.0)
    return radius + TOLERANCE * max(1.0, radius)


def written(radius: Radius) -> str:
    """The shortest text that reads back as the same number: `0.3`, `8/255`, `12`, `inf`.

    Raises:
        InputError: a tensor.
    """
    if isinstance(radius, Tensor):
        raise InputError(
            "radius",
            described(f"tensor of shape {tuple(radius.shape)}"),
            "has no text form",
            "use a number, or pass the threat as an object",
        )
    plain = repr(radius).removesuffix(".0")
    if math.isfinite(radius) and radius > 0:
        pixels = round(radius * 255)
        if pixels / 255 == radius and len(f"{pixels}/255") < len(plain):
            return f"{pixels}/255"
    return plain


def content(value: Radius | None) -> object:
    """What equal radii have in common, hashable."""
    if not isinstance(value, Tensor):
        return value
    plain = value.detach().cpu().contiguous()
    return tuple(plain.shape), str(plain.dtype), plain.numpy().tobytes()


def _broadcasts(radius: Tensor, like: Tensor) -> bool:
    return radius.ndim == like.ndim and all(
        have in (1, want) for have, want in zip(radius.shape, like.shape, strict=True)
    )
