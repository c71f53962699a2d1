"""The one-pixel attack: differential evolution over the places and values of a few pixels.

A candidate is a list of k pixels, each a place and a value per channel, all in [0, 1). A population
of N evolves: in every generation each candidate c_i faces

    c' = c_a + F (c_b - c_c),   a, b, c random,

and gives way where c' has the smaller margin. Coordinates that leave [0, 1) are drawn afresh.

Symbols: N = `population`, F = `weight`; k is the radius of the L0 threat.
Source: Su, Vargas and Sakurai 2019, arXiv:1710.08864; differential evolution: Storn and Price 1997.
Departures: the margin is minimised instead of the probability of the true class, and first values
    are uniform instead of normal. Where the threat counts features, a place names one feature.
"""

import math
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.lanes import wide
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.salt_and_pepper import by_pixel
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, Range, hyperparameters
from holdfast.threats.protocol import Threat


@hyperparameters
class OnePixel(LockstepAttack):
    """Differential evolution over the few pixels, or features, that an L0 threat lets change.

    Args:
        population: candidates, at least 4.
        generations: after the first population.
        weight: of the difference of two candidates.

    Guarantee: every candidate is in the threat; success is re-checked.
    Cost: per example at most population (generations + 1) + 2 forwards, no backwards.
    Needs: scores; L0 of a finite radius with a box. A threat that counts pixels needs images.
    Source: Su, Vargas and Sakurai 2019, arXiv:1710.08864; defaults are the paper's.

    Example:
        >>> import torch
        >>> from holdfast.threats.l0 import L0
        >>> model = torch.nn.Linear(4, 2)
        >>> x = torch.full((1, 4), 0.5)
        >>> attack = OnePixel(population=8, generations=3)
        >>> result = attack.run(model, x, model(x).argmax(1), L0(1))
        >>> bool(((result.x_adv != x).sum() <= 1).all())
        True
    """

    population: Annotated[int, Range(ge=4)] = 400
    generations: Count = 100
    weight: Positive = 0.5

    def check(self, threat: Threat) -> None:
        """Refuses what is not L0 with a box, and an infinite radius."""
        if getattr(threat, "p", None) != 0.0 or threat.box is None:
            raise UnsupportedThreat(f"OnePixel does not search {threat}; give L0 with a box")
        radius = torch.as_tensor(threat.radius)
        if not bool(radius.isfinite().all()):
            raise InputError("radius", math.inf, "is no number of pixels", "give a whole number")

    def walk(self, oracle: Oracle) -> None:
        """Evolves the population until every row has won or the generations are over."""
        canvas = Canvas(oracle)
        if not canvas.pixels:
            return
        keys = oracle.keys.fold("one pixel")
        genes = self._drawn(keys, canvas.pixels, canvas.genes).to(oracle.x)
        fitness = self._judged(oracle, canvas, genes)
        for generation in range(1, self.generations + 1):
            if not bool(oracle.open.any()):
                return
            trial = self._mutants(genes, keys.fold(generation))
            margins = self._judged(oracle, canvas, trial)
            better = margins < fitness
            fitness = torch.where(better, margins, fitness)
            genes = torch.where(better[..., None, None], trial, genes)

    def _judged(self, oracle: Oracle, canvas: "Canvas", genes: Tensor) -> Tensor:
        """The margins of candidates, (b, N); those of rows that are done are infinite."""
        margins = [oracle.ask(canvas.paint(genes[:, i])).margin for i in range(self.population)]
        return torch.stack(margins, dim=1)

    def _drawn(self, keys: Keys, pixels: int, genes: int) -> Tensor:
        """Uniform candidates, (b, N, k, genes); those of a pixel do not depend on k."""
        shape = (self.population, genes)
        return torch.stack([keys.fold(pixel).uniform(shape) for pixel in range(pixels)], dim=2)

    def _mutants(self, genes: Tensor, keys: Keys) -> Tensor:
        """A challenger of each candidate, (b, N, k, genes)."""
        row = torch.arange(len(genes), device=genes.device)[:, None]
        a, b, c = (genes[row, parent] for parent in _three(keys.fold("parents"), self.population))
        mutant = a + self.weight * (b - c)
        fresh = self._drawn(keys.fold("fresh"), *genes.shape[2:]).to(genes)
        return torch.where((mutant >= 0) & (mutant < 1), mutant, fresh)


def _three(keys: Keys, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Three different numbers below `count` for each of `count` candidates, each (b, count)."""
    first = keys.fold(0).integers(count, (count,))
    second = keys.fold(1).integers(count - 1, (count,))
    third = keys.fold(2).integers(count - 2, (count,))
    third = third + (third >= second)
    return first, (first + 1 + second) % count, (first + 1 + third) % count


class Canvas:
    """Paints candidates onto the inputs of a block.

    Attributes:
        pixels: how many pixels a candidate has, the largest radius of the block.
        genes: numbers of one pixel: a coordinate per axis of places, and a value per channel.
    """

    def __init__(self, oracle: Oracle):
        x, box = oracle.x, oracle.threat.box
        assert box is not None
        self._x, self._box = x, box
        event = x.shape[1:]
        pixels = by_pixel(oracle.threat)
        if pixels and len(event) != 3:
            raise InputError("x", tuple(event), "has no pixels", "give images, or per=feature")
        self._axes = event[1:] if pixels else event
        self._channels = event[0] if pixels else 1
        radius = torch.as_tensor(oracle.threat.radius, device=x.device)
        self._allowed = radius.to(torch.int64).expand(len(x)).clamp_max(self._axes.numel())
        self.pixels, self.genes = int(self._allowed.max()), len(self._axes) + self._channels

    def paint(self, genes: Tensor) -> Tensor:
        """The inputs with the pixels of one candidate each, genes (b, k, genes); (b, *E)."""
        flat = self._x.reshape(len(self._x), self._channels, -1).clone()
        low, high = self._box
        for pixel in range(self.pixels):
            gene = genes[:, pixel]
            place = self._place(gene)[:, None, None].expand(-1, self._channels, 1)
            value = (low + (high - low) * gene[:, len(self._axes) :]).clamp(low, high)[:, :, None]
            value = torch.where(wide(pixel < self._allowed, value), value, flat.gather(2, place))
            flat.scatter_(2, place, value)
        return flat.view_as(self._x)

    def _place(self, gene: Tensor) -> Tensor:
        """The flat place that coordinates in [0, 1) name, (b,) int64."""
        place = torch.zeros_like(self._allowed)
        for axis, size in enumerate(self._axes):
            place = place * size + (gene[:, axis] * size).long().clamp(0, size - 1)
        return place
