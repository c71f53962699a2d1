"""DFO: evolution strategies on tiles, continuous or discrete.

A vector z, one number for each tile and channel, is searched by the covariance matrix adaptation
evolution strategy, which draws a population from N(m, s^2 C), asks for the losses, and moves m, s
and C towards the better half. `continuous` moves every pixel of a tile by eps tanh(z), `discrete`
by +eps or -eps, drawn with the probabilities softmax(z, -z). `diagonal` keeps C diagonal, which
suits many tiles.

Symbols: s starts at `sigma`; the population is `population`.
Source: Meunier, Atif and Teytaud 2019, arXiv:1910.02244 (DFO_c-CMA, DFO_d-Diag. CMA); Hansen and
Ostermeier 2001 (CMA-ES), through the package `cma`. Thesis: Andriushchenko 2024, sec 3.9.
Departures: one number for each tile of `discrete` instead of two, as only their difference counts.
"""

import math
from itertools import count
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.tiles import check_ball, tile_shape, upsample
from holdfast.core.optional import optional
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Positive, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat

_WORST = 1e30


@hyperparameters
class DFO(LockstepAttack):
    """CMA-ES on tiles.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        tiles: rows and columns of the grid of tiles.
        values: `continuous` or `discrete`.
        covariance: `full` or `diagonal`; full needs the square of the number of tiles in memory.
        sigma: first standard deviation of the strategy.
        population: points of a generation; None is 4 + 3 log n for n numbers.
        loss: what is maximised.

    Guarantee: numpy's global generator is neither read nor set: each example's strategy draws its
        normals from the example's key.
    Cost: per example at most `queries` + 2 forwards; the strategies run on the CPU.
    Needs: the extra `blackbox`; a finite Linf ball.
    Source: Meunier, Atif and Teytaud 2019, arXiv:1910.02244.
    """

    queries: Count = 10_000
    tiles: Count = 10
    values: Literal["continuous", "discrete"] = "continuous"
    covariance: Literal["full", "diagonal"] = "full"
    sigma: Positive = 1.0
    population: Count | None = None
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def check(self, threat: Threat) -> None:
        """Refuses other threats than a finite Linf ball, and a missing extra."""
        check_ball(threat, (math.inf,), "DFO")
        optional("cma", extra="blackbox")

    def walk(self, oracle: Oracle) -> None:
        """Generation after generation, until the budget is spent."""
        shape = tile_shape(oracle.x.shape[1:], self.tiles)
        left, draw = self.queries, 0
        if oracle.start is not None:
            oracle.ask(oracle.start)
            left -= 1
        size = math.prod(shape)
        searches = [self._strategy(max(size, 2), key) for key in oracle.keys.state.tolist()]
        while left > 0 and bool(oracle.open.any()):
            at = oracle.open.nonzero().flatten().tolist()
            drawn = {row: searches[row].ask() for row in at}
            most = len(drawn[at[0]])
            losses = []
            for each in range(min(most, left)):
                z = torch.zeros(len(oracle.x), size, dtype=torch.float64)
                z[at] = torch.from_numpy(np.stack([drawn[row][each][:size] for row in at]))
                point = self._point(oracle, z.to(oracle.x).view(-1, *shape), draw)
                losses.append(oracle.ask(point).loss)
                left, draw = left - 1, draw + 1
            if len(losses) < most:
                return
            self._tell(oracle, searches, drawn, torch.stack(losses, dim=1))

    def _tell(
        self, oracle: Oracle, searches: list[Any], drawn: dict[int, Any], losses: Tensor
    ) -> None:
        """Moves the strategies of the rows that are still open."""
        costs = torch.nan_to_num(-losses, _WORST, _WORST, -_WORST).tolist()
        for row in oracle.open.nonzero().flatten().tolist():
            searches[row].tell(drawn[row], costs[row])

    def _point(self, oracle: Oracle, z: Tensor, draw: int) -> Tensor:
        """The perturbed inputs (b, *E) that tiles' numbers z (b, C, h, w) stand for."""
        if self.values == "continuous":
            unit = torch.tanh(z)
        else:
            noise = oracle.keys.fold("tiles").uniform(z.shape[1:], draw).to(z)
            unit = torch.where(noise < torch.sigmoid(2 * z), 1.0, -1.0).to(z)
        threat, x = oracle.threat, oracle.x
        width = threat.steepest(torch.ones_like(x), threat.reach)
        return threat.project(x + upsample(unit, x.shape[1:]) * width, x)

    def _strategy(self, size: int, state: int) -> Any:
        """A strategy in `size` dimensions that draws its normals from the example's key."""
        keys, draws = Keys(torch.tensor([state])).fold("cma"), count()
        options = {
            "verbose": -9,
            "seed": math.nan,
            "randn": lambda *shape: keys.normal(shape, next(draws))[0].double().numpy(),
            "CMA_diagonal": self.covariance == "diagonal",
        }
        if self.population is not None:
            options["popsize"] = max(2, self.population)
        cma = optional("cma", extra="blackbox")
        return cma.CMAEvolutionStrategy(np.zeros(size), self.sigma, options)
