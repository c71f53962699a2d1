"""How the Square Attack places and fills its windows: the published attack, and its ablations.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, sec 5.1 and tables of
    ablations; Andriushchenko 2024, sec 3.5.3, 3.8.4 (P_multiple) and 3.10.
Departures: `squares`, whose number is not given, is one sign per channel and ten squares of the
    first proposals' size; sides of rectangles are rounded and cut to the image.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from holdfast.attacks.square_schedule import Plan
from holdfast.attacks.windows import Windows, largest, windows
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters

_LOW = 0xFFFFFFFF
_REDRAWS = 16


@dataclass(frozen=True, eq=False)
class Draw:
    """What is random in a proposal, and its size.

    Args:
        halvings: (b,) of the fraction so far.
        size: (b, 2) height and width of its windows.
        corners: (b, k, 2) top and left of each.
        words: (b, C) 64 random bits for each channel; its sign is that of the proposal.
        flips: (b, C) 1 for the signs to change where the proposal would change nothing, else 0; at
            least one.
    """

    halvings: Tensor
    size: Tensor
    corners: Tensor
    words: Tensor
    flips: Tensor

    @classmethod
    def unpacked(cls, row: Tensor, channels: int) -> "Draw":
        """From the (b, n) that `packed` returns."""
        corners = row[:, 3 : -2 * channels].reshape(len(row), -1, 2)
        words, flips = row[:, -2 * channels :].chunk(2, dim=1)
        return cls(row[:, 0], row[:, 1:3], corners, words, flips)

    @property
    def packed(self) -> Tensor:
        """All as one table, (b, n) int64."""
        columns = (self.size, self.corners.flatten(1), self.words, self.flips)
        return torch.cat([self.halvings[:, None], *columns], dim=1)


@hyperparameters
class Update:
    """How windows are placed and filled. The defaults are the attack; the rest are ablations.

    Args:
        positions: of a window of side h in an image of side w, uniform in {0 .. w - h}; `released`
            leaves out the last; `cyclic` is {0 .. w - 1}, and a window goes on at the other side.
        skip_noop: draws signs again where the proposal changes nothing (l_inf).
        normalize_halves: gives both halves of a bump one norm, as released code does (l2, l1).
        shape: in l_inf; `rectangle` has sides of mean h; `random` is as many pixels, anywhere.
        signs: of a proposal (l_inf): one, one per channel, or one per pixel and channel.
        stripes: the start in l_inf: `vertical` or `horizontal` stripes, `uniform` signs, `squares`.
        bump: what is added to a window in l2 and l1: two bumps of opposite sign (`pair`), one
            (`single`), or random signs (`random`).
        spread: the start in l2 and l1: a `grid` of bumps, `gaussian`, `uniform` signs or `vertical`
            stripes.

    Example:
        >>> Update(signs="pixel", positions="cyclic").signs  # P_multiple
        'pixel'
    """

    positions: Literal["thesis", "released", "cyclic"] = "thesis"
    skip_noop: bool = True
    normalize_halves: bool = False
    shape: Literal["square", "rectangle", "random"] = "square"
    signs: Literal["single", "channel", "pixel"] = "channel"
    stripes: Literal["vertical", "horizontal", "uniform", "squares"] = "vertical"
    bump: Literal["pair", "single", "random"] = "pair"
    spread: Literal["grid", "gaussian", "uniform", "vertical"] = "grid"

    def draw(self, keys: Keys, step: Tensor, plan: Plan, count: int) -> Draw:
        """What proposal `step` (b,) draws, for `count` windows: one in l_inf, else two."""
        channels, *image = plan.shape
        words = keys.bits(count + channels, step)
        halvings, size = plan.at(step)
        if self.shape == "rectangle" and count == 1:
            factor = -torch.log1p(-keys.fold("sides").uniform((2,), step))
            size = (factor * size).round().long().clamp_min(1)
            size = torch.minimum(size, torch.tensor(image, device=size.device))
        if self.positions == "cyclic":
            places = torch.tensor(image, device=size.device)
        else:
            room = torch.tensor(image, device=size.device) - size
            places = room + 1 if self.positions == "thesis" else room.clamp_min(1)
        word = words[:, :count]
        halves = torch.stack([word >> 32 & _LOW, word & _LOW], dim=2)
        corners = halves * places.view(-1, 1, 2) >> 32
        signs = words[:, count:]
        if self.signs == "single":
            return Draw(
                halvings, size, corners, signs[:, :1].expand_as(signs), torch.ones_like(signs)
            )
        return Draw(halvings, size, corners, signs, flips(signs))

    def windows(self, draw: Draw, plan: Plan) -> Windows:
        """The windows of a draw."""
        return windows(
            draw.corners,
            draw.size,
            plan.shape[1:],
            padded=largest(draw.size),
            cyclic=self.positions == "cyclic",
        )

    def pixels(self, draw: Draw, keys: Keys, step: Tensor, plan: Plan) -> Windows:
        """The windows of a draw in l_inf, or as many pixels anywhere."""
        if self.shape != "random":
            return self.windows(draw, plan)
        count = draw.size.prod(dim=1, keepdim=True)
        size = torch.cat([torch.ones_like(count), count], dim=1)
        flat = windows(draw.corners * 0, size, plan.shape[1:], padded=largest(size))
        order = keys.fold("pixels").permutation(plan.shape[1] * plan.shape[2], step)
        return replace(flat, place=order[:, None].gather(2, flat.column))


def flips(words: Tensor) -> Tensor:
    """Uniform in {0, 1}^C without 0, (b, C) int64, from the low bits of words (b, C).

    Signs drawn again until they differ from the first ones are the first ones with these flipped.
    """
    if words.shape[1] == 1:
        return torch.ones_like(words)
    draws = (words[:, :, None] >> torch.arange(_REDRAWS, device=words.device)) & 1
    first = draws.amax(dim=1).argmax(dim=1)
    chosen = draws.gather(2, first[:, None, None].expand(-1, words.shape[1], 1))[:, :, 0]
    chosen[:, 0] |= chosen.amax(dim=1) == 0
    return chosen
