"""The spatial threat: an image is rotated, shifted, scaled and flipped, all within ranges.

The set is {T_w(x) : w in W}, with W a box of parameters and T_w one bilinear warp (see `warp`):
flip, scale, rotate about the centre, then shift. The same ranges are a distribution, uniform over
each parameter. Five columns make the parameters w of an image, in this order:

    rotation (degrees, counter-clockwise), shift_x (right), shift_y (down), scale, flip (0 or 1)

Shifts are in pixels; for a `translation` in per cent, in shares of the image's side; for `crop`, in
[-1, 1]. Cropping the original size out of the scaled image padded by `crop` pixels, at the share f
in [0, 1] of the room there is, is a shift of (1/2 - f) ((side + 2 crop) scale - side) pixels; its
column holds 1 - 2 f, so that the parameters are independent whatever the scale.

Source: Engstrom et al. 2019, arXiv:1712.02779, sec 3 (rotation and translation; worst of a grid of
    31 rotations and 5 x 5 translations); Rice 2023, sec 3.1.6 (flip, rotation, scale and crop as a
    distribution).
Departures: scaled and padded sizes are not rounded to whole pixels; `reflect` mirrors the image
    without end, so that no black corners enter a rotated image.
"""

import itertools
import math
from typing import ClassVar, Self

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described, unknown_name
from holdfast.core.numbers import number
from holdfast.core.random import Keys
from holdfast.core.recipes import NonNegative, hyperparameters
from holdfast.threats.box import Box, as_box
from holdfast.threats.radius import TOLERANCE, written
from holdfast.threats.warp import Padding, bilinear, sources

COLUMNS = ("rotation", "shift_x", "shift_y", "scale", "flip")
_IDENTITY = (0.0, 0.0, 0.0, 1.0, 0.0)
_WRITTEN = {"rot": "rotation", "shift": "translation"}
_OPTIONS = ("rot", "shift", "scale", "flip", "crop", "padding", "box")


@hyperparameters
class Spatial:
    """Rotation, translation, scaling and flip of an image, in one warp.

    Args:
        rotation: up to so many degrees either way.
        translation: up to so many pixels along either axis, or a share of the side such as `10%`.
        scale: a number s for the factors [1 - s, 1 + s], or their range (low, high) around 1.
        flip: whether the image may be mirrored left to right.
        crop: pixels of padding around the image from which the original size is cropped at a free
            place; 0 for none. It stands in for `translation`.
        padding: what comes in from outside: `zeros`, the `border` pixel, or the image mirrored
            (`reflect`).
        box: (low, high) to which results are clipped, or None.

    Guarantee: the identity, a flip and whole-pixel shifts are exact bit by bit.
    Needs: images (B, C, H, W).

    Raises:
        InputError: a range out of order or without the identity, or both `translation` and `crop`.

    Example:
        >>> threat = Spatial(rotation=30, translation=3)
        >>> threat.text, len(threat.grid())
        ('spatial:rot=30,shift=3', 775)
    """

    kind: ClassVar[str] = "spatial"

    rotation: NonNegative = 0.0
    translation: float | str = 0.0
    scale: float | tuple[float, float] = 0.0
    flip: bool = False
    crop: NonNegative = 0.0
    padding: Padding = "zeros"
    box: Box | None = (0.0, 1.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", as_box(self.box))
        shift = self.translation
        if isinstance(shift, str) and not shift.endswith("%"):
            object.__setattr__(self, "translation", number(shift, "translation"))
        for name, value in (
            ("rotation", self.rotation),
            ("translation", self._farthest),
            ("crop", self.crop),
        ):
            if math.isinf(value):
                raise InputError(name, value, "has no end", "give a finite number")
        if self._farthest < 0:
            raise InputError("translation", shift, "is negative", "give 3, or '10%' of the side")
        if self._farthest and self.crop:
            remedy = "give one of them"
            raise InputError("crop", self.crop, "shifts in addition to translation", remedy)
        low, high = self.ranges[3]
        if not 0 < low <= 1 <= high:
            remedy = "give 0 <= scale < 1, or (low, high) with 0 < low <= 1 <= high"
            raise InputError("scale", self.scale, "is no range of factors around 1", remedy)

    @property
    def text(self) -> str:
        """The text form, `spatial:rot=30,shift=3,scale=0.1,flip=1`, which `from_text` reads
        back."""
        shift, scale = self.translation, self.scale
        parts = {
            "rot": written(self.rotation),
            "shift": shift if isinstance(shift, str) else written(shift),
            "scale": ":".join(map(written, scale)) if isinstance(scale, tuple) else written(scale),
            "flip": str(int(self.flip)),
            "crop": written(self.crop),
        }
        shown = [f"{key}={value}" for key, value in parts.items() if value != "0"]
        if self.padding != "zeros":
            shown.append(f"padding={self.padding}")
        if self.box != (0.0, 1.0):
            shown.append("box=" + (":".join(map(written, self.box)) if self.box else "none"))
        return f"{self.kind}:{','.join(shown)}" if shown else self.kind

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The threat of a text form; the inverse of `text`.

        Raises:
            InputError: another name, an unknown option, one without a value, given twice, or out of
                range.

        Example:
            >>> Spatial.from_text("spatial:rot=30,scale=0.8:1.1").scale
            (0.8, 1.1)
        """
        kind, _, rest = (part.strip() for part in text.partition(":"))
        if kind.lower() != cls.kind:
            raise unknown_name("threat", kind, [cls.kind])
        values: dict[str, object] = {}
        for part in filter(None, map(str.strip, rest.split(","))):
            key, _, value = (each.strip() for each in part.partition("="))
            if key not in _OPTIONS:
                raise unknown_name("threat option", key, _OPTIONS)
            if not value:
                raise InputError("threat option", part, "has no value", f"write {key}=value")
            name = _WRITTEN.get(key, key)
            if name in values:
                raise InputError("threat option", part, "is given twice", "give it once")
            values[name] = _read(key, value)
        return cls(**values)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """The text form, under which records name the threat."""
        return self.text

    def __str__(self) -> str:
        return self.text

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """(low, high) of each of the `COLUMNS`, both included."""
        low, high = (
            self.scale if isinstance(self.scale, tuple) else (1 - self.scale, 1 + self.scale)
        )
        shift = 1.0 if self.crop else self._farthest
        angle = self.rotation
        return (-angle, angle), (-shift, shift), (-shift, shift), (low, high), (0.0, self.flip)

    def identity(self, x: Tensor) -> Tensor:
        """The parameters that change nothing, (B, 5), for images x."""
        return x.new_tensor(_IDENTITY).expand(len(x), -1).clone()

    def draw(self, keys: Keys, step: int | Tensor = 0, count: int = 1) -> Tensor:
        """Parameters drawn uniformly from their ranges, float32, (B, count, 5).

        Args:
            keys: of the examples.
            step: the draw, a number or one per example (B,).
            count: how many for each example; the first ones are those of a smaller count.
        """
        low, high = self._bounds(torch.zeros(1, device=keys.state.device))
        unit = keys.fold("spatial").uniform((count, len(COLUMNS)), step)
        unit[..., 4] = (unit[..., 4] >= 0.5).to(unit)
        return torch.clamp(low + (high - low) * unit, low, high)

    def sample(self, x: Tensor, *, keys: Keys, step: int | Tensor = 0) -> Tensor:
        """Images under drawn parameters, (B, C, H, W); `draw(keys, step)` tells which."""
        return self.apply(self.draw(keys, step)[:, 0], x)

    def grid(self, *, rotations: int = 31, shifts: int = 5, scales: int = 1) -> Tensor:
        """All combinations of evenly spaced parameters, float32, (N, 5).

        Counts are of values between the ends of a range, the shifts along each axis; one value is
        the identity, and so is the middle of an odd count of a symmetric range. Where a flip is
        allowed, all come without and with it. What has no range counts once.

        Raises:
            InputError: a count below 1.
        """
        counts = (rotations, shifts, shifts, scales, 2)
        if min(counts) < 1:
            raise InputError("counts", counts[:4], "hold one below 1", "give whole numbers from 1")
        axes = [
            _spaced(low, high, count, same)
            for (low, high), count, same in zip(self.ranges, counts, _IDENTITY, strict=True)
        ]
        return torch.tensor(list(itertools.product(*axes)), dtype=torch.float32)

    def apply(self, params: Tensor, x: Tensor) -> Tensor:
        """The images that the parameters make of x, (B, C, H, W), clipped to the box.

        Args:
            params: (B, 5) as in `COLUMNS`, or (5,) for all; not checked against the ranges.
            x: (B, C, H, W).

        Guarantee: the identity gives x bit by bit (x in the box); differentiable in x and, but for
            the flip, in the parameters.
        Cost: one `grid_sample`.

        Raises:
            InputError: x holds no images, or the parameters do not fit.
        """
        params = self._fitted(params, x)
        angle, right, down, scale, flip = params.unbind(dim=1)
        height, width = x.shape[2:]
        if self.crop:
            right = right / 2 * ((width + 2 * self.crop) * scale - width).clamp_min(0.0)
            down = down / 2 * ((height + 2 * self.crop) * scale - height).clamp_min(0.0)
        elif isinstance(self.translation, str):
            right, down = right * width, down * height
        rows, columns = sources(angle, right, down, scale, flip > 0.5, x)
        moved = bilinear(x.to(rows.dtype), rows, columns, self.padding).to(x.dtype)
        return moved if self.box is None else moved.clamp(*self.box)

    def contains(self, x_adv: Tensor, x: Tensor, params: Tensor | None = None) -> Tensor:
        """Whether the parameters are allowed and make x_adv of x, (B,) bool.

        Pixels alone do not tell how an image was moved, so that a result keeps its parameters and
        they are applied again here. Nothing is searched for. Both count with 1e-6, the pixels with
        the rounding of a coordinate more, as devices round differently: one unit in the last place
        of 1 for each pixel along the longer side, in the dtype of x.

        Args:
            params: (B, 5), or (5,) for all.

        Raises:
            InputError: no parameters.
        """
        if params is None:
            remedy = "pass the parameters that were kept with the result"
            raise InputError("params", None, "are needed to tell a moved image", remedy)
        if x_adv.shape != x.shape:
            shown = described(f"tensor of shape {tuple(x_adv.shape)}")
            raise InputError("x_adv", shown, "differs from x", f"give shape {tuple(x.shape)}")
        params = self._fitted(params, x)
        low, high = self._bounds(params)
        slack = TOLERANCE * torch.maximum(low.abs(), high.abs()).clamp_min(1.0)
        allowed = ((params >= low - slack) & (params <= high + slack)).all(dim=1)
        allowed &= (params[:, 4] == 0) | (params[:, 4] == 1)
        gap = (self.apply(params, x) - x_adv).abs().flatten(1).amax(dim=1)
        rounding = torch.finfo(x.dtype).eps * max(x.shape[2:])
        return allowed & (gap <= TOLERANCE + rounding)

    def size(self, params: Tensor) -> Tensor:
        """How far the parameters (N, 5) are out, (N,): the largest share of a range that is used,
        0 for the identity, 1 at an end, above 1 outside (inf where nothing may change)."""
        low, high = self._bounds(params)
        same = params.new_tensor(_IDENTITY)
        room = torch.where(params >= same, high - same, same - low)
        share = (params - same).abs() / room
        return torch.where(params == same, 0.0, share).amax(dim=1)

    def rows(self, which: Tensor) -> Self:
        """The threat of selected examples: itself, as all share the ranges."""
        return self

    @property
    def _farthest(self) -> float:
        shift = self.translation
        if isinstance(shift, str):
            return number(shift.removesuffix("%"), "translation") / 100
        return shift

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        low, high = like.new_tensor(self.ranges).unbind(dim=1)
        return low, high

    def _fitted(self, params: Tensor, x: Tensor) -> Tensor:
        if x.ndim != 4:
            shown = described(f"tensor of shape {tuple(x.shape)}")
            raise InputError("x", shown, "holds no images", "give shape (B, C, H, W)")
        if params.shape not in ((len(COLUMNS),), (1, len(COLUMNS)), (len(x), len(COLUMNS))):
            shown = described(f"tensor of shape {tuple(params.shape)}")
            remedy = f"give shape {(len(x), len(COLUMNS))}: {', '.join(COLUMNS)}"
            raise InputError("params", shown, f"do not fit {len(x)} images", remedy)
        dtype = torch.promote_types(x.dtype, torch.float32)
        return params.to(x.device, dtype).expand(len(x), len(COLUMNS))


def _read(key: str, value: str) -> object:
    """The value of an option as its text says."""
    if key in ("padding", "shift"):
        return value
    if key == "flip":
        if value.lower() not in ("0", "1", "true", "false"):
            raise InputError("flip", value, "is neither 0 nor 1", "write flip=1")
        return value.lower() in ("1", "true")
    if key == "box" and value.lower() == "none":
        return None
    low, colon, high = value.partition(":")
    if key not in ("scale", "box") or not colon:
        return number(value, _WRITTEN.get(key, key))
    return number(low, key), number(high, key)


def _spaced(low: float, high: float, count: int, same: float) -> list[float]:
    """`count` values from low to high; the identity alone for one, or where there is no range."""
    if count == 1 or low == high:
        return [same]
    parts = [at / (count - 1) for at in range(count)]
    return [low * (1 - part) + high * part for part in parts]
