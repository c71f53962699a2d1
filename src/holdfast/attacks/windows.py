"""Windows of an image, one or two per row of a block, as places in the flattened image.

Rows of a block are at different steps, so their windows differ in size. All are padded to the
largest of the block; the padding repeats pixels of the row's own window, so that writing it changes
nothing, and `real` tells it from the window. Reading and writing a window then costs its size, not
that of the image.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Windows:
    """k windows of one size in each of b rows, padded to (tallest, widest) = S pixels.

    Args:
        row: (b, k, S) their pixels' rows in the image.
        column: (b, k, S) their columns.
        place: (b, k, S) both as one: row * width of the image + column.
        local: (2, S) rows and columns within a window, before padding is folded back.
        height: (b, 1).
        width: (b, 1).
        image: (H, W).
        padded: (tallest, widest) of the block.
    """

    row: Tensor
    column: Tensor
    place: Tensor
    local: Tensor
    height: Tensor
    width: Tensor
    image: tuple[int, int]
    padded: tuple[int, int]

    @property
    def real(self) -> Tensor:
        """Which pixels of a window are no padding, (b, S)."""
        return (self.local[0] < self.height) & (self.local[1] < self.width)

    @property
    def outside_first(self) -> Tensor:
        """Which pixels of the second window are not in the first, (b, S)."""
        row = (self.row[:, 1] - self.row[:, 0, :1]) % self.image[0]
        column = (self.column[:, 1] - self.column[:, 0, :1]) % self.image[1]
        return (row >= self.height) | (column >= self.width)

    def of(self, image: Tensor) -> Tensor:
        """All windows' pixels of `image` (b, C, H * W), (b, C, k * S)."""
        return image.gather(2, self._spread(self.place, image))

    def write(self, image: Tensor, values: Tensor, window: int = 0) -> None:
        """Puts `values` (b, C, S) into one of the windows of `image` (b, C, H * W), in place."""
        image.scatter_(2, self._spread(self.place[:, window], image), values)

    def _spread(self, place: Tensor, image: Tensor) -> Tensor:
        return place.flatten(1)[:, None].expand(-1, image.shape[1], -1)


def windows(
    corners: Tensor,
    size: Tensor,
    image: tuple[int, int],
    *,
    padded: tuple[int, int],
    cyclic: bool = False,
) -> Windows:
    """The windows with these corners in images of size `image` (H, W).

    Args:
        corners: (b, k, 2) int64, top and left.
        size: (b, 2) int64, height and width.
        padded: the largest height and width of the block.
        cyclic: a window that leaves the image at one side enters at the other.
    """
    local = grid(*padded, corners.device)
    at = torch.minimum(local[:, None], size.T[:, :, None] - 1)
    row, column = (at[:, :, None] + corners.permute(2, 0, 1)[..., None]).unbind(0)
    if cyclic:
        row, column = row % image[0], column % image[1]
    place = row * image[1] + column
    return Windows(row, column, place, local, size[:, :1], size[:, 1:], image, padded)


def largest(size: Tensor) -> tuple[int, int]:
    """The largest height and width among sizes (b, 2); waits for the device."""
    tallest, widest = size.amax(dim=0).tolist()
    return tallest, widest


@lru_cache(maxsize=256)
def grid(height: int, width: int, device: torch.device) -> Tensor:
    """Row and column of each pixel of a window, (2, height * width)."""
    at = torch.arange(height * width, device=device)
    return torch.stack([at // width, at % width])
