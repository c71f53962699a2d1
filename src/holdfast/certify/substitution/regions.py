"""The set of inputs of a certificate: a threat around each image, seen by its support function.

The smallest value of a linear form <v, x'> over the threat is -sup <-v, x'>. A box (an Linf ball,
also within another box) is its own hull, so that its support is <v, c> + <|v|, r> with center c and
radius r, which crops allow for without another look at the threat. For a norm ball with one radius
per image, the coordinates at which v is zero do not matter, so that it is asked about crops only.

Source: Wong 2020, sec 3.1.2 (the conjugate of the input set); Liu 2022, sec 3.2.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from holdfast.certify.operators.ops import center_radius
from holdfast.certify.rounding import Box, widened_hull
from holdfast.certify.substitution.rows import Rows
from holdfast.certify.substitution.walk import box_ends
from holdfast.certify.substitution.windows import Window
from holdfast.core.errors import InputError, UnsupportedThreat, described
from holdfast.threats.balls import Linf
from holdfast.threats.base import Ball
from holdfast.threats.radius import per_feature


class Hulled(Protocol):
    """A threat that has a smallest box around it."""

    def hull(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, each of the shape of x."""
        ...


@dataclass(frozen=True, eq=False)
class Around:
    """A threat around a batch of images, with its tolerance of membership.

    Args:
        threat: asked for its support function.
        x: (B, *E).
        box: its hull.
        center: of the hull.
        spread: the radius of the hull, elementwise.
        boxed: whether the threat is its hull.
    """

    threat: Any
    x: Tensor
    box: Box
    center: Tensor
    spread: Tensor
    boxed: bool

    def ends(self, rows: Rows, image: Tensor, *, both: bool) -> tuple[Tensor, Tensor | None]:
        """The least value of each row over the set of its image, and the greatest if wanted."""
        if self.boxed:
            return box_ends(rows, image, self.center, self.spread)
        if not (isinstance(rows, Window) and _uniform(self.threat)):
            rows = rows.dense()
        rows = rows.clean()
        least = -self._support(rows.of(-rows.values), image)
        return least, self._support(rows, image) if both else None

    def _support(self, rows: Rows, image: Tensor) -> Tensor:
        """The largest value of each row, (N,)."""
        forms = rows.values.unsqueeze(1)
        if isinstance(self.threat, Ball):
            x = rows.field(self.x, image).expand(rows.values.shape)
            if isinstance(rows, Window):
                forms, x = forms.flatten(2), x.flatten(1)
            found: Tensor = self.threat.rows(image).support(forms, x)
            return found.squeeze(1)
        return self._by_image(rows.values, image)

    def _by_image(self, forms: Tensor, image: Tensor) -> Tensor:
        """The same for a threat that cannot select: rows in a table of B lists."""
        earlier = torch.searchsorted(image, image)  # rows come image by image
        slot = torch.arange(len(image), device=image.device) - earlier
        longest = int(slot.max()) + 1 if len(slot) else 0
        table = forms.new_zeros(len(self.x), longest, *forms.shape[1:])
        table = table.index_put((image, slot), forms)
        found: Tensor = self.threat.support(table, self.x)
        return found[image, slot]


def around(threat: Hulled, x: Tensor, *, rigorous: bool) -> Around:
    """The threat around a batch.

    A threat with a true attribute `boxed` is its hull, as an Linf ball is.

    Raises:
        UnsupportedThreat: it has no hull, or is neither a box nor has a support function.
        InputError: its hull around an image is empty.
    """
    box = hull_box(threat, x, rigorous=rigorous)
    boxed = bool(getattr(threat, "boxed", isinstance(threat, Linf)))
    if not boxed and not hasattr(threat, "support"):
        raise UnsupportedThreat(
            f"linear bounds need a threat with a support function; {type(threat).__name__} has none"
        )
    wider = threat.accepted() if hasattr(threat, "accepted") else threat
    return Around(wider, x, box, *center_radius(box), boxed)


def hull_box(threat: Hulled, x: Tensor, *, rigorous: bool) -> Box:
    """The threat's hull; widened by what computing it may have rounded if `rigorous`.

    Raises:
        UnsupportedThreat: the threat has no hull.
        InputError: the hull of an example is empty, which would certify anything.
    """
    if not hasattr(threat, "hull"):
        raise UnsupportedThreat(
            f"interval bounds need a threat with a hull; {type(threat).__name__} has none"
        )
    box = Box(*threat.hull(x))
    box = widened_hull(box, x) if rigorous else box
    empty = (box.lower > box.upper).nonzero()
    if len(empty):
        found = described(f"example {int(empty[0, 0])}")
        remedy = "give inputs in the box, or a threat with the box of your data"
        raise InputError("x", found, "lies outside the threat's box, so nothing is in it", remedy)
    return box


def _uniform(threat: object) -> bool:
    return isinstance(threat, Ball) and not per_feature(threat.radius)
