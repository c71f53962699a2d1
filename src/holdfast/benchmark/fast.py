"""`fast`: the answer of long protocols, or a lower one, in a fraction of their passes.

    race     every example: three short runs, on margin and cross-entropy, steps falling from eps
    targets  the closest eighth: longer runs towards each wrong class
    pilot    the 32 closest: a random search of 300 queries, then gradient steps from where it ended
    search   where the pilot broke some (gradients mislead): 1,000 queries and gradient steps on the
             closest eighth, then on the next, while scouts of 300 queries break a tenth of it; then
             3,000 queries and gradient steps on the very closest, or, where scouts found some to
             the end (gradients say nothing), 5,000 queries on all
    stand    where it broke none (gradients lead): APGD-T with its 100 steps on the very closest
    audit    a hundredth of the survivors, drawn at random, through the standard protocol

Closest means of smallest margin seen. Two facts make it short. Examples that fall late are, with
few exceptions, those whose margin is already small after short runs, so that long runs on the
others buy nothing. And where gradients mislead, a few gradient steps from the end of a random
search break what neither breaks alone: the search leaves the flat region, the gradient finishes.

Source: ours. Measured in `benchmarks/protocols.py`.
"""

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from torch import Tensor

from holdfast.attacks.apgd import APGD
from holdfast.attacks.attack import Attack
from holdfast.attacks.noise import NoiseSearch
from holdfast.attacks.pgd import PGD
from holdfast.attacks.spatial import SpatialGrid, SpatialRandom
from holdfast.attacks.square import Square
from holdfast.benchmark.protocol import Board, Step
from holdfast.benchmark.standard import AutoAttack, targeted
from holdfast.core.confidence import clopper_pearson
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Range, hyperparameters
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.schedules.cosine import Cosine
from holdfast.threats.protocol import Searchable
from holdfast.threats.spatial import Spatial

_FALLING = Cosine(value=1.0, end=0.01)
_PILOT, _LEAST, _AUDITED = 32, 16, 4
_BALLS = (1.0, 2.0, math.inf)


@hyperparameters
class Fast:
    """The fast protocol.

    Args:
        audit: the share of the examples that is drawn from the survivors and sent through the
            standard protocol, at least 4 of them; 0 for none.

    Cost: 100 to 500 passes per example where gradients lead, up to about 1,500 where they do not;
        the audit adds about 90.
    """

    audit: Annotated[float, Range(ge=0, le=1)] = 0.01

    @property
    def name(self) -> str:
        """`fast`."""
        return "fast"

    @property
    def version(self) -> str:
        """`fast/1`."""
        return "fast/1"

    @property
    def adaptive(self) -> bool:
        """Yes: examples race against each other."""
        return True

    def steps(self, board: Board) -> Iterator[Step]:
        """The race, the pilot, the search where it pays, the audit."""
        if not isinstance(board.threat, Searchable):
            yield from _tries(board)
            return
        if _infinite(board.threat.radius):
            remedy = "give a radius, or a minimum-norm attack such as fab"
            raise InputError("threat", board.threat.name, "has no radius to search", remedy)
        p = board.threat.p
        yield Step("race-margin", _run(p, 20, 1, Margin()))
        yield Step("race-ce", _run(p, 20, 2, CrossEntropy()))
        yield Step("targets", _run(p, 50, 1, Margin(), targets=9), board.closest(_share(board, 8)))
        if p not in _BALLS:
            return
        tried = board.closest(_PILOT)
        yield from _searched("pilot", 300, tried, p)
        board.notes["pilot"] = {"tried": len(tried), "fell": board.fell(tried)}
        if board.fell(tried):
            yield from _search(board)
        else:
            yield Step("stand", targeted(board.classes, 100, 9), board.closest(_share(board, 24)))
        yield from self._audit(board)

    def _audit(self, board: Board) -> Iterator[Step]:
        """Sends a random sample of the survivors, the same for all seeds, through the standard
        protocol."""
        standing = board.standing()
        if not (self.audit and len(standing)):
            return
        count = min(len(standing), max(_AUDITED, math.ceil(self.audit * len(board.ledger))))
        lots = Keys.of(0, board.ledger.index[standing]).fold("audit").bits(1)[:, 0]
        sample = standing[lots.argsort(stable=True)[:count]]
        for step in AutoAttack().steps(board):
            yield Step(f"audit-{step.name}", step.attack, sample)
        found = board.fell(sample)
        board.notes["audit"] = {
            "sampled": count,
            "found": found,
            "bound": clopper_pearson(found, count)[1],
            "discarded": len(standing),
            "protocol": "standard",
        }


def _search(board: Board) -> Iterator[Step]:
    """The closest first; then waves of the next, while scouts find some; then the very closest.

    Where scouts find some to the end, gradients say nothing, and all that stand are searched.
    """
    p, wave, searched = board.threat.p, 1, board.closest(_share(board, 8, _PILOT))
    yield from _searched("search-1", 1000, searched, p)
    while True:
        fresh = board.closest(_share(board, 8, _PILOT), beside=searched)
        if not len(fresh) and wave == 1:
            break
        if not len(fresh):
            yield Step("full", Square(queries=5000, p_init=0.8, schedule="released"))
            return
        wave, searched = wave + 1, torch.cat([searched, fresh])
        yield from _searched(f"scout-{wave}", 300, fresh, p)
        if board.fell(fresh) < len(fresh) / 10:
            break
        yield from _searched(f"search-{wave}", 1000, fresh, p)
    yield from _searched("deep", 3000, board.closest(_share(board, 24)), p)


def _searched(name: str, queries: int, at: Tensor, p: float) -> Iterator[Step]:
    """A random search, and gradient steps from where it ended."""
    yield Step(name, Square(queries=queries, p_init=0.8, schedule="released"), at)
    polish: Attack = PGD(
        steps=20, restarts=1, step_size="0.25*eps", start="clean", schedule=_FALLING
    )
    if p == 1:
        polish = APGD(steps=20, widening=(1.0,))
    yield Step(f"{name}-polish", polish, at, start=name)


def _run(p: float, steps: int, restarts: int, loss: Loss, targets: int = 0) -> Attack:
    """Runs with steps that fall from the radius; in L1, where a steepest step moves one feature,
    Auto-PGD."""
    if p == 1:
        return APGD(steps=steps, restarts=restarts, loss=loss, most_targets=targets)
    return PGD(
        steps=steps,
        restarts=restarts,
        step_size="eps",
        schedule=_FALLING,
        loss=loss,
        targeting="multi" if targets else "none",
        most_targets=targets or None,
    )


def _tries(board: Board) -> Iterator[Step]:
    """For threats that are sampled or gridded only."""
    attacks: dict[str, Attack] = {"noise": NoiseSearch(samples=100)}
    if isinstance(board.threat, Spatial):
        attacks = {"spatial-random": SpatialRandom(samples=10), "spatial-grid": SpatialGrid()}
    for name, attack in attacks.items():
        yield Step(name, attack)


def _share(board: Board, part: int, least: int = _LEAST) -> int:
    """How many a part of the standing examples is, in whole small blocks, at least `least`."""
    return max(len(board.standing()) // part // _LEAST * _LEAST, least)


def _infinite(radius: float | Tensor) -> bool:
    return not isinstance(radius, Tensor) and math.isinf(radius)
