"""Augmentation: batched, keyed by example, invertible by index.

An augmentation first draws its parameters, from the keys of the examples alone, and then applies
them. As the parameters are kept, a perturbation of the augmented image can be taken back to the
image's own frame: `invert` puts every pixel that survived where it came from, and 0 elsewhere. For
perturbations that are cached from epoch to epoch there is a second frame, the padded one: `carry`
shows the cache through this epoch's window and `store` writes the window back, leaving the rest.
All of it is gathers: no loop over examples, and gradients pass.

Source: pad, crop and flip: Krizhevsky et al. 2012, as in Wong 2020, ch. 4, Rice 2023, ch. 2;
    Cutout: DeVries and Taylor 2017, arXiv:1708.04552; the cache in the padded frame: Zheng et al.
    2020, ATTA, arXiv:1912.11969.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Fraction, From, Range, hyperparameters
from holdfast.data.catalogue import AUGMENTATIONS


class Step(Protocol):
    """One augmentation. Shapes: x (B, C, H, W); params (B, ...); stored (B, C, H', W')."""

    def draw(self, keys: Keys, shape: Sequence[int]) -> Tensor:
        """The parameters of B examples; `shape` (C, H, W) is that of one image."""

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """The augmented images."""

    def invert(self, x: Tensor, params: Tensor) -> Tensor:
        """From the augmented frame to the image's own; 0 where a pixel did not survive."""

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape (C, H', W') of what is kept per example from epoch to epoch."""

    def carry(self, stored: Tensor, params: Tensor) -> Tensor:
        """From the kept frame to the augmented one."""

    def store(self, stored: Tensor, x: Tensor, params: Tensor) -> Tensor:
        """The kept tensor with the visible part replaced by x, from the augmented frame."""


@hyperparameters
class PadCrop:
    """Pads every side and crops a window of the image's own size at a random place.

    The offset of the window is uniform on 0 .. 2 * padding, vertically and horizontally.

    Args:
        padding: in pixels.
        mode: what the border is filled with: `zero`, `value`, or the mirrored image (`reflect`).
        value: the filling of mode `value`, in the units of the images that come in.

    Guarantee: `invert(apply(x))` is x on the pixels in the window, else 0; the image of a
        perturbation under `invert` never exceeds it. Mirrored copies are not carried back.
    Cost: two gathers.
    Departures: some published code draws offsets below 2 * padding only; ours includes the last.

    Raises:
        InputError: a filling without the mode `value`; from `draw`, a reflection wider than the
            image.
    """

    padding: Count = 4
    mode: Literal["zero", "value", "reflect"] = "zero"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.value != 0 and self.mode != "value":
            raise InputError("value", self.value, f"is unused in mode {self.mode}", "mode='value'")

    def draw(self, keys: Keys, shape: Sequence[int]) -> Tensor:
        """The windows' offsets, (B, 2) int64: down, right."""
        if self.mode == "reflect" and self.padding >= min(shape[-2:]):
            problem = f"is too wide to mirror images of {shape[-2]}x{shape[-1]}"
            raise InputError("padding", self.padding, problem, f"give below {min(shape[-2:])}")
        return keys.fold("pad-crop").integers(2 * self.padding + 1, (2,))

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """The windows of the padded images."""
        shift = params - self.padding
        if self.mode != "reflect":
            return _shifted(x, shift, x.shape[-2:], self.value)
        rows, columns = _places(x.shape[-2:], shift)
        return _gathered(x, _mirrored(rows, x.shape[-2]), _mirrored(columns, x.shape[-1]))

    def invert(self, x: Tensor, params: Tensor) -> Tensor:
        """The visible pixels at their places in the image, 0 elsewhere."""
        return _shifted(x, self.padding - params, x.shape[-2:])

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The padded image."""
        channels, height, width = shape
        return channels, height + 2 * self.padding, width + 2 * self.padding

    def carry(self, stored: Tensor, params: Tensor) -> Tensor:
        """The window of a padded tensor."""
        height, width = (side - 2 * self.padding for side in stored.shape[-2:])
        return _shifted(stored, params, (height, width))

    def store(self, stored: Tensor, x: Tensor, params: Tensor) -> Tensor:
        """The padded tensor with its window overwritten."""
        rows, columns = _places(stored.shape[-2:], -params)
        visible = (
            _within(rows, x.shape[-2])[:, None, :, None]
            & (_within(columns, x.shape[-1])[:, None, None, :])
        )
        return torch.where(visible, _shifted(x, -params, stored.shape[-2:]), stored)


@hyperparameters
class Flip:
    """Mirrors left and right, with probability `p`.

    Guarantee: its own inverse.
    """

    p: Fraction = 0.5

    def draw(self, keys: Keys, shape: Sequence[int]) -> Tensor:
        """Whether each example is mirrored, (B,) bool."""
        return keys.fold("flip").uniform(()) < self.p

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """The images, mirrored where drawn."""
        return torch.where(params.view(-1, 1, 1, 1), x.flip(-1), x)

    def invert(self, x: Tensor, params: Tensor) -> Tensor:
        """As `apply`."""
        return self.apply(x, params)

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The image's own."""
        return tuple(shape)

    def carry(self, stored: Tensor, params: Tensor) -> Tensor:
        """As `apply`."""
        return self.apply(stored, params)

    def store(self, stored: Tensor, x: Tensor, params: Tensor) -> Tensor:
        """All is visible, so all is replaced."""
        return self.apply(x, params)


@hyperparameters
class Cutout:
    """Zeroes a square patch at a random place of the image.

    It belongs after crop and flip: the patch then lies where it was drawn. Zero is the value of the
    pixels, before any normalisation.

    Args:
        length: the patch's side, in pixels; 0 is the identity.

    Guarantee: identity outside the patch, of length^2 pixels in every channel. A perturbation of
        the augmented image is not masked; a cached one is neither masked nor lost: `carry` and
        `store` take it as it is.
    Source: Wong 2020, sec 4.4.2; Rice 2023, sec 2.3.6: lengths 2, 4, ..., 20 on CIFAR-10, best 14.
    Departures: the patch lies fully inside (Rice 2023, ch. 2, code); in DeVries and Taylor its
        centre is uniform and the patch may reach over the border.

    Raises:
        InputError: from `draw`, a patch larger than the image.
    """

    length: Annotated[int, Range(ge=0)] = 14

    def draw(self, keys: Keys, shape: Sequence[int]) -> Tensor:
        """The patches' first row and column, (B, 2) int64."""
        height, width = shape[-2:]
        if self.length > min(height, width):
            problem = f"is larger than images of {height}x{width}"
            raise InputError("length", self.length, problem, f"give up to {min(height, width)}")
        room = torch.tensor([height, width], device=keys.state.device) - self.length + 1
        return keys.fold("cutout").integers(room, (2,))

    def apply(self, x: Tensor, params: Tensor) -> Tensor:
        """The images with their patches zeroed."""
        down, right = _places(x.shape[-2:], -params)
        patch = (
            _within(down, self.length)[:, None, :, None]
            & (_within(right, self.length)[:, None, None, :])
        )
        return x.masked_fill(patch, 0)

    def invert(self, x: Tensor, params: Tensor) -> Tensor:
        """As `apply`: what lies in the patch did not survive."""
        return self.apply(x, params)

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The image's own."""
        return tuple(shape)

    def carry(self, stored: Tensor, params: Tensor) -> Tensor:
        """The tensor as it is."""
        return stored

    def store(self, stored: Tensor, x: Tensor, params: Tensor) -> Tensor:
        """The new tensor as it is."""
        return x


@hyperparameters
class Augment:
    """Several augmentations, one after the other; none is the identity.

    Parameters are a tuple, one tensor per step. Draw them with the keys of the epoch:
    `params = augment.draw(keys.fold(epoch), x.shape[1:])`.

    Example:
        >>> augment = Augment(steps=(PadCrop(padding=2), Flip()))
        >>> x, keys = torch.rand(3, 1, 6, 5), Keys.of(0, [4, 9, 2])
        >>> params = augment.draw(keys.fold(0), x.shape[1:])
        >>> seen = augment.invert(augment.apply(torch.ones_like(x), params), params)
        >>> bool((augment.invert(augment.apply(x, params), params) == x * seen).all())
        True
    """

    steps: tuple[Annotated[Step, From(AUGMENTATIONS)], ...] = ()

    def draw(self, keys: Keys, shape: Sequence[int]) -> tuple[Tensor, ...]:
        """The parameters of all steps; a step's draw depends on its place, not on the others."""
        return tuple(step.draw(keys.fold(i), shape) for i, step in enumerate(self.steps))

    def apply(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        """The augmented images.

        Raises:
            InputError: x is not (B, C, H, W).
        """
        if x.ndim != 4:
            shown = described(f"a tensor of shape {tuple(x.shape)}")
            raise InputError("x", shown, "is no batch of images", "give (B, C, H, W)")
        for step, each in zip(self.steps, params, strict=True):
            x = step.apply(x, each)
        return x

    def invert(self, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        """From the augmented frame to the image's own, in the inverse order."""
        for step, each in reversed(list(zip(self.steps, params, strict=True))):
            x = step.invert(x, each)
        return x

    def frame(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape (C, H', W') of what is kept per example: the image with all paddings."""
        for step in reversed(self.steps):
            shape = step.frame(shape)
        return tuple(shape)

    def carry(self, stored: Tensor, params: Sequence[Tensor]) -> Tensor:
        """From the kept frame (B, C, H', W') to the augmented one (B, C, H, W)."""
        for step, each in zip(self.steps, params, strict=True):
            stored = step.carry(stored, each)
        return stored

    def store(self, stored: Tensor, x: Tensor, params: Sequence[Tensor]) -> Tensor:
        """The kept tensors with the visible part replaced by x (B, C, H, W)."""
        views = [stored]
        for step, each in zip(self.steps, params, strict=True):
            views.append(step.carry(views[-1], each))
        for i in reversed(range(len(self.steps))):
            x = self.steps[i].store(views[i], x, params[i])
        return x


def _shifted(x: Tensor, shift: Tensor, size: Sequence[int], value: float = 0.0) -> Tensor:
    """The windows of `size` that begin `shift` (B, 2) from the images' corners; `value` outside."""
    rows, columns = _places(size, shift)
    inside = (
        _within(rows, x.shape[-2])[:, None, :, None]
        & (_within(columns, x.shape[-1])[:, None, None, :])
    )
    taken = _gathered(x, rows.clamp(0, x.shape[-2] - 1), columns.clamp(0, x.shape[-1] - 1))
    return taken.masked_fill(~inside, value)


def _gathered(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """x (B, C, H, W) at its own rows (B, H') and columns (B, W') of each example."""
    batch, channels, _, width = x.shape
    x = x.gather(2, rows[:, None, :, None].expand(batch, channels, -1, width))
    return x.gather(3, columns[:, None, None, :].expand(*x.shape[:3], -1))


def _places(size: Sequence[int], shift: Tensor) -> tuple[Tensor, Tensor]:
    """The rows (B, H) and columns (B, W) of windows of `size`, shifted by (B, 2)."""
    rows, columns = (torch.arange(side, device=shift.device) for side in size)
    return rows + shift[:, :1], columns + shift[:, 1:]


def _within(places: Tensor, size: int) -> Tensor:
    return (places >= 0) & (places < size)


def _mirrored(places: Tensor, size: int) -> Tensor:
    """Places outside 0 .. size - 1, reflected at the first and the last."""
    return (size - 1) - ((size - 1) - places.abs()).abs()
