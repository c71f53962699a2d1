"""How far the proofs reach: the certified radius of every example of a data set.

A search (`certify.SEARCHES`) asks a bound for one radius after another and keeps the largest at
which it held. Examples go through it in blocks of one size, the same for any number of processes;
every finished block is journalled, so that a run that is stopped goes on where it was. An example
that is misclassified has the radius 0.

Source: Wong 2020, Fig 3.7 (the profile); Liu 2022, sec 3.3.2.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.catalogue import BOUNDS, SEARCHES
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.envelope import norm_ball
from holdfast.certify.radii.radius import Search
from holdfast.core.errors import CaptureError, InputError
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.random import Keys
from holdfast.core.recipes import content_hash
from holdfast.data.images import ImageData
from holdfast.models.weights import weights_hash
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard
from holdfast.runs.journal import Journal
from holdfast.runs.ranks import Ranks
from holdfast.threats.base import Ball
from holdfast.threats.protocol import Threat

BLOCK = 20
_LEVELS = 10
_STAGE = "certified-radii"
_NONE = {
    "index": torch.empty(0, dtype=torch.int64),
    "correct": torch.empty(0, dtype=torch.bool),
    "radius": torch.empty(0, dtype=torch.float64),
    "ceiling": torch.empty(0, dtype=torch.float64),
    "evaluations": torch.empty(0, dtype=torch.int64),
}


@dataclass(frozen=True)
class RadiiProgress:
    """Where the search stands: examples done, of how many, and the mean radius so far."""

    done: int
    total: int
    mean: float


@dataclass(frozen=True, eq=False)
class CertifiedRadii:
    """The certified radii of examples; every column has shape (N,).

    Args:
        index: the examples' numbers.
        y: their labels.
        correct: whether they are classified as such, without any perturbation.
        radius: float64, the largest radius at which the certificate was seen to hold.
        ceiling: float64, the smallest at which it was seen to fail, inf where none was.
        evaluations: bounds that the example took.
        reach: the largest radius that was asked for, inf where the box was the only limit.
        sound: whether each radius is a proof.
        settings: what the radii depend on.
    """

    index: Tensor
    y: Tensor
    correct: Tensor
    radius: Tensor
    ceiling: Tensor
    evaluations: Tensor
    reach: float
    sound: bool
    settings: Mapping[str, Any]

    def accuracy(self, radius: float) -> float:
        """The fraction of all examples that are certified at a radius."""
        held = self.correct & (self.radius >= radius)
        return float(held.double().mean())

    def curve(self, radii: Sequence[float] = ()) -> list[tuple[float, float]]:
        """Certified accuracy at these radii; without any at ten even ones up to the largest."""
        most = float(self.radius.max())
        even = {most * level / _LEVELS for level in range(_LEVELS + 1)}
        return [(radius, self.accuracy(radius)) for radius in radii or sorted(even)]

    def to_dict(self, radii: Sequence[float] = ()) -> dict[str, Any]:
        """The figures, as plain data."""
        found = self.radius.tolist()
        return {
            "verb": "radius",
            "threat": self.settings["threat"],
            "search": self.settings["search"],
            "examples": len(found),
            "clean_accuracy": float(self.correct.double().mean()),
            "sound": self.sound,
            "mean_radius": statistics.fmean(found),
            "median_radius": statistics.median_low(found),
            "largest_radius": max(found),
            "reach": self.reach if self.reach != float("inf") else None,
            "evaluations": float(self.evaluations.double().mean()),
            "curve": [
                {"radius": radius, "certified_accuracy": share}
                for radius, share in self.curve(radii)
            ],
        }

    def write(self, run: Run, about: Mapping[str, Any], radii: Sequence[float] = ()) -> None:
        """Writes the table of examples and the result, with further keys `about`."""
        names = ("index", "y", "correct", "radius", "ceiling", "evaluations")
        run.write_examples({name: getattr(self, name) for name in names})
        run.write_result({**self.to_dict(radii), **about, "settings": dict(self.settings)})


def radius_search(method: str, search: str | None = None, *, precision: float = 1e-4) -> Search:
    """A search over the radius by the names of its parts.

    Args:
        method: of `certify.BOUNDS`.
        search: of `certify.SEARCHES`; None is `secant` for linear bounds, else `bisection`.
        precision: the width at which the bracket of an example is closed.

    Raises:
        InputError: an unknown name, or a search that asks for more than the method's bounds.

    Example:
        >>> type(radius_search("crown")).__name__, type(radius_search("interval")).__name__
        ('Secant', 'Bisection')
    """
    bound = BOUNDS[method].load()()
    linear = isinstance(bound, Linear)
    name = search or ("secant" if linear else "bisection")
    entry = SEARCHES[name]
    if name != "bisection" and not linear:
        remedy = "give --search bisection, or a linear bound such as crown"
        raise InputError("search", name, f"needs a linear bound, not {method}", remedy)
    made: Search = entry.load()(method=bound, precision=precision)
    return made


def certified_radii(
    model: Model,
    data: ImageData,
    threat: Threat,
    search: Search,
    *,
    block: int = BLOCK,
    seed: int = 0,
    device: torch.device | str | None = None,
    run: Run | None = None,
    shard: Shard | None = None,
    on_event: Callable[[RadiiProgress], None] | None = None,
) -> CertifiedRadii:
    """The certified radius of every example.

    Args:
        model: inputs (B, *E) in input units to logits (B, K).
        data: the examples.
        threat: a norm ball; its radius is the largest that is asked for, and may be inf.
        search: with its bound.
        block: examples that are searched at the same time, and journalled together.
        seed: for bounds that draw.
        device: None is the model's own.
        run: where finished blocks are kept; what it holds is not computed again.
        shard: this process's part; by default what the launcher says.
        on_event: called after each block.

    Returns:
        The radii of all examples; on ranks other than 0 those of the own shard.

    Guarantee: `radius` was certified by the bound, a proof where `sound`; with the same threads the
        same bits for any number of processes, or resume.
    Cost: 6 to 12 bounds of each example that is classified correctly.
    Raises:
        CaptureError: the model holds an operation without bounds.
        InputError: a bad argument.
        RunConflict: `run` was made with other settings.
        UnsupportedThreat: the threat is no norm ball.
    """
    if block < 1:
        raise InputError("block", block, "is below 1", "give a whole number from 1")
    shard = shard or Shard.current()
    if run is None and shard.world > 1:
        remedy = "give a run directory that they share"
        raise InputError("run", None, "is needed by several processes", remedy)
    ball = norm_ball(threat)
    if not isinstance(model, nn.Module):
        raise CaptureError("a plain function has no graph; give an nn.Module")
    place = FrozenModel(model, device=device).device
    graph = capture(model, tuple(data.images.shape[1:]), device=place)
    settings = {
        "model": weights_hash(model),
        "data": data.content_hash(),
        "threat": str(ball.text),
        "search": repr(search),
        "seed": seed,
        "block": block,
        "device": place.type,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if run is not None:
        run.settings(settings)
    work = _Work(graph, data, ball, search, settings, place)
    mine = shard.rows(len(data), block)
    if run is None:
        return work.answer(work.rows(mine, None, on_event))
    with Journal(run.journal, rank=shard.rank, every=1) as journal:
        if shard.world == 1:
            return work.answer(work.rows(mine, journal, on_event))
        with Ranks(run.ranks, shard) as ranks:
            found = work.rows(mine, journal, on_event)
            if ranks.gather(_STAGE):
                found = work.rows(torch.arange(len(data)), journal, None)
        return work.answer(found)


@dataclass(frozen=True, eq=False)
class _Work:
    """What every block needs."""

    graph: Graph
    data: ImageData
    threat: Ball
    search: Search
    settings: Mapping[str, Any]
    device: torch.device

    @property
    def stage(self) -> str:
        """Of the journal."""
        return f"{_STAGE}-{content_hash(self.settings)}"

    def rows(
        self,
        places: Tensor,
        journal: Journal | None,
        on_event: Callable[[RadiiProgress], None] | None,
    ) -> dict[str, Tensor]:
        """The rows of these places, those that the journal holds as they are."""
        known = None if journal is None else journal.read(self.stage)
        done = torch.zeros(len(self.data), dtype=torch.bool)
        parts = [_NONE]  # a process may have no examples
        parts += [] if known is None else [_selected(known, torch.isin(known["index"], places))]
        for part in parts:
            done[part["index"]] = True
        for which in torch.split(places, self.settings["block"]):
            if bool(done[which].all()):
                continue
            found = self._block(which)
            if journal is not None:
                journal.append(self.stage, found)
            parts.append(found)
            done[which] = True
            if on_event is not None:
                radii = torch.cat([part["radius"] for part in parts])
                on_event(RadiiProgress(len(radii), len(places), float(radii.mean())))
        whole = {name: torch.cat([part[name] for part in parts]) for name in _NONE}
        return _selected(whole, whole["index"].argsort())

    def _block(self, which: Tensor) -> dict[str, Tensor]:
        """The rows of one block; `index` is the place in the data until `answer` replaces it."""
        x = self.data.inputs(which).to(self.device)
        y = self.data.labels[which].to(self.device)
        keys = Keys.of(self.settings["seed"], self.data.index[which], self.device).fold("radius")
        found = self.search.find(self.graph, x, y, self.threat, keys=keys)
        with torch.no_grad():
            correct = self.graph.forward(x.double()).argmax(dim=1) == y
        rows = {
            "index": which,
            "correct": correct,
            "radius": found.radius,
            "ceiling": found.ceiling,
            "evaluations": found.evaluations,
        }
        return {name: each.cpu() for name, each in rows.items()}

    def answer(self, rows: dict[str, Tensor]) -> CertifiedRadii:
        """The columns, under the examples' own numbers."""
        places = rows["index"]
        return CertifiedRadii(
            index=self.data.index[places],
            y=self.data.labels[places],
            correct=rows["correct"],
            radius=rows["radius"],
            ceiling=rows["ceiling"],
            evaluations=rows["evaluations"],
            reach=float(torch.as_tensor(self.threat.radius).max()),
            sound=self.search.sound,
            settings=self.settings,
        )


def _selected(rows: dict[str, Tensor], which: Tensor) -> dict[str, Tensor]:
    return {name: each[which] for name, each in rows.items()}
