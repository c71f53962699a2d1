"""Perturbations that are kept for every example from epoch to epoch, and the step that improves
them.

    first visit, and every `reset` epochs:   d_i random in the ball
    a visit:    point = P( x + d_i );  x' = P( point + a v(g(point)) );   d_i <- x' - x

d_i lives in the frame of the augmentation (the padded image for a random crop): it is shown through
this epoch's crop and flip, and what was visible is written back at its place.

Symbols: d = perturbation, a = length of the step, v the steepest direction of the threat, P its
projection.
Source: Zheng et al. 2020 (ATTA), arXiv:1912.11969; Huang et al. 2022 (ATAS); Liu 2022, sec 4.3.5,
Alg 4.1, and sec 5.2.
Departures: an example's start is a function of its keys and the epoch, not of a generator's state.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.threats.base import Ball
from holdfast.threats.protocol import Threat
from holdfast.threats.radius import per_feature
from holdfast.training.visit import Visit

_NAME = "perturbation"
_DRAWN = "perturbation_drawn"
_NEVER = -1

Stored = Literal["float32", "float16"]
"""The type in which perturbations are kept; half of the memory in float16."""


@dataclass(frozen=True, eq=False)
class Perturbations:
    """The perturbations of a batch's examples.

    Args:
        visit: the showing that they were read in.
        frame: (B, *F) in the frame of the augmentation.
        side: height and width in which they are kept, or None for the frame's own.
    """

    visit: Visit
    frame: Tensor
    side: int | None = None

    def point(self, x: Tensor, threat: Threat) -> Tensor:
        """The perturbed inputs in the present view, in the threat, (B, *E)."""
        return threat.project(x + self.visit.carry(self.frame), x)

    def keep(self, delta: Tensor) -> None:
        """Writes perturbations (B, *E) of the present view back; what it hides stays as it was."""
        frame = self.visit.store(self.frame, delta)
        size = frame.shape[1:] if self.side is None else (*frame.shape[1:-2], self.side, self.side)
        self.visit.memory.write(_NAME, self.visit.places, _resized(frame, size))


def recalled(
    visit: Visit,
    x: Tensor,
    threat: Threat,
    keys: Keys,
    *,
    reset: int | None,
    stored: Stored = "float32",
    side: int | None = None,
) -> Perturbations:
    """The kept perturbations of the examples x (B, *E), drawn anew where it is time to.

    Args:
        keys: of the examples.
        reset: epochs between two draws; None draws at the first visit only. A draw that would fall
            into the last epoch is left out.
        stored: the type in which they are kept.
        side: keep images of this height and width, bilinearly resized; None for all pixels.

    Raises:
        UnsupportedThreat: not a ball, or one with a radius per feature.
        InputError: a `side` for inputs that are not images.
    """
    ball = ball_of(threat, "a kept perturbation")
    frame = visit.frame(x.shape[1:])
    if side is not None and len(frame) != 3:
        raise InputError("stored_size", side, "is for images", "leave it out")
    size = frame if side is None else (frame[0], side, side)
    memory, places, type_ = visit.memory, visit.places, getattr(torch, stored)
    kept = memory.read(_NAME, places, shape=size, dtype=type_).to(x.dtype)
    drawn = memory.read(_DRAWN, places, fill=_NEVER, dtype=torch.int32)
    due = drawn < last_draw(visit.epoch, visit.epochs, reset)
    if due.device.type != "cpu" or bool(due.any()):  # elsewhere asking would wait for the device
        start = _start(ball, kept, keys.fold("kept start").fold(visit.epoch))
        kept = torch.where(due.view(-1, *[1] * (kept.ndim - 1)), start, kept)
        memory.write(_DRAWN, places, drawn.masked_fill(due, visit.epoch))
    return Perturbations(visit, _resized(kept, frame), side)


def last_draw(epoch: int, epochs: int, reset: int | None) -> int:
    """The epoch, up to this one, in which perturbations were last to be drawn."""
    if reset is None:
        return 0
    last = epoch - epoch % reset
    return last - reset if 0 < last == epochs - 1 else last


def ascended(
    frozen: FrozenModel, point: Tensor, x: Tensor, y: Tensor, threat: Threat, length: float | Tensor
) -> tuple[Tensor, Tensor]:
    """One steepest step on the cross-entropy, projected: (B, *E), and the logits (B, K) before it.

    Cost: 1 forward and 1 backward.
    """
    logits, _, gradient = frozen.value_and_grad(point, lambda z: cross_entropy(z, y))
    return threat.project(threat.steepest(gradient, length).add_(point), x), logits


def ball_of(threat: Threat, what: str) -> Ball:
    """The threat, if it is a ball with one radius, or one per example.

    Raises:
        UnsupportedThreat: it is not.
    """
    if not isinstance(threat, Ball):
        problem = f"{type(threat).__name__} has no radius for {what}"
        raise UnsupportedThreat(f"{problem}; use a norm ball, such as linf:8/255")
    if per_feature(threat.radius):
        problem = f"{what} cannot have one radius per feature"
        raise UnsupportedThreat(f"{problem}; use one radius, such as linf:8/255")
    return threat


def _start(ball: Ball, like: Tensor, keys: Keys) -> Tensor:
    """The threat's random start around zero, without box; of the shape of `like`."""
    return type(ball)(ball.radius, box=None).sample(torch.zeros_like(like), keys=keys)


def _resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images (B, C, H, W), bilinearly in another height and width; themselves if it is theirs."""
    if images.shape[1:] == torch.Size(size):
        return images
    return interpolate(images, size=tuple(size[-2:]), mode="bilinear", align_corners=False)
