"""The rows of a block: runs of examples, each at its own step, as columns of tensors.

A *run* is one walk of an attack from one start (a restart, maybe towards one target). Runs of all
examples are supplied in a fixed order, window by window, within a window all examples' first runs,
then their second; starts are drawn in blocks of fixed shape, so that an example's bits do not
depend on which runs share a block.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from holdfast.attacks.foresight import Fan
from holdfast.core.random import Keys
from holdfast.threats.protocol import Threat


@dataclass(eq=False)
class Rows:
    """The state of b rows.

    Args:
        example: (b,) position of the row's example in the call's batch.
        run: (b,) which run of the example this is.
        step: (b,) moves made so far.
        looks: (b,) how often the model was asked so far.
        keys: the example's keys, folded with the run.
        origin: (b, *E) the clean inputs.
        point: (b, *E) the current iterates.
        y: (b,) labels.
        target: (b,) the class aimed at, or None.
        threat: the threat of these rows.
        memory: what the attack carries from step to step, each (b, ...).
        inside: (b,) bool, rows whose point may be an answer; None for all.
        fan: which places look ahead for which rows; None for none.
    """

    example: Tensor
    run: Tensor
    step: Tensor
    looks: Tensor
    keys: Keys
    origin: Tensor
    point: Tensor
    y: Tensor
    target: Tensor | None
    threat: Threat
    memory: dict[str, Tensor] = field(default_factory=dict)
    inside: Tensor | None = None
    fan: Fan | None = None

    def __len__(self) -> int:
        return len(self.example)

    def put(self, slots: Tensor, other: "Rows", picks: Tensor) -> None:
        """Overwrites the rows `slots` with the rows `picks` of another block, in place."""
        for column in ("example", "run", "step", "looks", "origin", "point", "y"):
            getattr(self, column)[slots] = getattr(other, column)[picks]
        self.keys.state[slots] = other.keys.state[picks]
        for column in ("target", "inside"):
            own, theirs = getattr(self, column), getattr(other, column)
            if own is not None and theirs is not None:
                own[slots] = theirs[picks]
        for name, values in other.memory.items():
            self.memory[name][slots] = values[picks].to(self.memory[name].dtype)

    def clone(self) -> "Rows":
        """A copy that shares no tensor."""
        copies = {f.name: getattr(self, f.name) for f in fields(self)}
        copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in copies.items()}
        copies["keys"] = Keys(self.keys.state.clone())
        copies["memory"] = {name: column.clone() for name, column in self.memory.items()}
        return replace(self, **copies)


class Supply:
    """Runs waiting to be walked, prepared one block at a time.

    Args:
        prepare: (example (b,), run (b,)) -> Rows with their starts.
        wanted: (example (b,), run (b,)) -> (b,) bool, whether a run is still needed.
        examples: positions of the examples to attack.
        runs: runs of each example.
        block: rows of a block.
        window: examples whose runs are supplied before those of the next window begin.
    """

    def __init__(
        self,
        prepare: Callable[[Tensor, Tensor], Rows],
        wanted: Callable[[Tensor, Tensor], Tensor],
        examples: Tensor,
        runs: int,
        block: int,
        window: int,
    ):
        self._prepare, self._wanted, self._block = prepare, wanted, block
        self._order = self._rounds(examples, runs, window)
        self._returned: list[tuple[Tensor, Tensor]] = []
        self._ready: Rows | None = None
        self._left: Tensor = examples[:0]

    def take(self, count: int) -> tuple[Rows, Tensor] | None:
        """At most `count` prepared rows, as a block and the positions in it; None when all is done.

        Rows of at most one prepared block are given, so fewer than `count` may come.
        """
        while True:
            if self._ready is not None:
                wanted = self._wanted(self._ready.example[self._left], self._ready.run[self._left])
                self._left = self._left[wanted]
                if len(self._left):
                    given, self._left = self._left[:count], self._left[count:]
                    return self._ready, given
            if not self._prepare_next():
                return None

    def give_back(self, example: Tensor, run: Tensor) -> None:
        """Runs that were interrupted and must start again."""
        self._returned.append((example.clone(), run.clone()))

    def _prepare_next(self) -> bool:
        found = self._next_runs()
        if found is None:
            return False
        example, run = found
        count = len(example)
        if count < self._block:
            fill = torch.zeros(self._block - count, dtype=torch.int64, device=example.device)
            example, run = torch.cat([example, example[fill]]), torch.cat([run, run[fill]])
        self._ready = self._prepare(example, run)
        self._left = torch.arange(count, device=example.device)
        return True

    def _next_runs(self) -> tuple[Tensor, Tensor] | None:
        """The next runs that are still needed, at most a block of them."""
        pieces: list[tuple[Tensor, Tensor]] = []
        missing = self._block
        while missing:
            piece = self._returned.pop() if self._returned else next(self._order, None)
            if piece is None:
                break
            wanted = self._wanted(*piece)
            example, run = piece[0][wanted], piece[1][wanted]
            if len(example) > missing:
                self._returned.append((example[missing:], run[missing:]))
            pieces.append((example[:missing], run[:missing]))
            missing -= len(pieces[-1][0])
        if missing == self._block:
            return None
        return torch.cat([p[0] for p in pieces]), torch.cat([p[1] for p in pieces])

    def _rounds(self, examples: Tensor, runs: int, window: int) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, len(examples), window):
            members = examples[start : start + window]
            for run in range(runs):
                yield members, torch.full_like(members, run)
