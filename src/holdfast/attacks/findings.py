"""What a search has found so far, example by example, independent of the order in which runs end.

The answer of several runs is defined as that of walking them one after another until one succeeds:
success of the first run that succeeds, else the lowest rank of all, ties to the earlier run. The
rank is the margin; or, where the smallest success is wanted, its size (infinite for a failure).
Runs that were walked ahead of an earlier success are not counted as passes.
"""

import torch
from torch import Tensor

CLEAN = -1


class Findings:
    """Columns over the N examples of a call.

    Args:
        x: (N, *E) the clean inputs, themselves the first candidates.
        margin: (N,) the margins there.
        loss: (N,) the losses there.
        runs: how many runs each example may have.
        smallest: whether the rank is the size of a success instead of the margin.

    Symbols: `winner` (N,) is the first run that succeeded, `runs` where none has, -1 for the clean
    input itself.
    """

    def __init__(
        self, x: Tensor, margin: Tensor, loss: Tensor, runs: int, *, smallest: bool = False
    ):
        count, device = len(x), x.device
        self.runs, self.smallest = runs, smallest
        self.rank = torch.full_like(margin, torch.inf) if smallest else margin.clone()
        self.x_adv, self.margin, self.loss = x.clone(), margin.clone(), loss.clone()
        self.best_run = torch.full((count,), CLEAN, device=device)
        self.winner = torch.full((count,), runs, device=device)
        self.winner[~(margin > 0)] = CLEAN
        self.forwards = torch.zeros(count, runs, dtype=torch.int32, device=device)
        self.backwards = torch.zeros(count, runs, dtype=torch.int32, device=device)
        self.ended = torch.zeros(count, runs, dtype=torch.bool, device=device)
        self.reported = torch.zeros(count, dtype=torch.bool, device=device)

    def wanted(self, example: Tensor, run: Tensor) -> Tensor:
        """Whether a run can still change an example's answer, (b,) bool."""
        return (run < self.winner[example]) & ~self.ended[example, run]

    def claims(self, example: Tensor) -> Tensor:
        """Which of the examples, final by now, have a success to confirm, (b,) bool."""
        won = (self.winner[example] >= 0) & (self.winner[example] < self.runs)
        if not self.smallest:
            return won
        return won | ((self.winner[example] == self.runs) & self.rank[example].isfinite())

    def replace(self, example: Tensor, x: Tensor, margin: Tensor, loss: Tensor) -> None:
        """Puts another best point (b, *E), with its `margin` and `loss` (b,), no success."""
        self.x_adv[example], self.margin[example], self.loss[example] = x, margin, loss
        self.rank[example] = torch.inf if self.smallest else margin

    def reopen(self, example: Tensor) -> None:
        """Takes back successes that did not hold: the example's open runs are wanted again."""
        runs = torch.arange(self.runs, device=example.device)
        ahead = runs[None] > self.winner[example][:, None]  # walked ahead, and then not recorded
        self.ended[example] &= ~ahead
        self.winner[example] = self.runs
        self.reported[example] = False

    def open_runs(self, example: Tensor) -> tuple[Tensor, Tensor]:
        """The (example, run) pairs that have not ended."""
        which, run = (~self.ended[example]).nonzero(as_tuple=True)
        return example[which], run

    def record(
        self,
        example: Tensor,
        run: Tensor,
        success: Tensor,
        point: Tensor,
        rank: Tensor,
        margin: Tensor,
        loss: Tensor,
    ) -> None:
        """Takes candidates: b rows, an example may stand in several."""
        order = _by_rank(example, success, run, rank)
        first = torch.ones_like(success)
        first[1:] = example[order][1:] != example[order][:-1]
        picks = order[first]
        at = example[picks]
        better = _precedes(
            (success[picks], run[picks], rank[picks]),
            (self.winner[at] < self.runs, self.best_run[at], self.rank[at]),
        )
        picks, at = picks[better], at[better]
        self.x_adv[at], self.margin[at], self.loss[at] = point[picks], margin[picks], loss[picks]
        self.rank[at], self.best_run[at] = rank[picks], run[picks]
        self.winner[at] = torch.where(success[picks], run[picks], self.winner[at])

    def end(self, example: Tensor, run: Tensor, forwards: Tensor, backwards: Tensor) -> None:
        """Closes runs, with the passes each took."""
        self.ended[example, run] = True
        self.forwards[example, run] = forwards.to(torch.int32)
        self.backwards[example, run] = backwards.to(torch.int32)

    def newly_finished(self, example: Tensor) -> Tensor:
        """Those of the given examples whose answer is final and was not yet reported."""
        example = torch.unique(example)
        leading = self.ended[example].cumprod(dim=1).sum(dim=1)
        final = (leading >= torch.clamp(self.winner[example] + 1, max=self.runs)) & ~self.reported[
            example
        ]
        self.reported[example[final]] = True
        return example[final]

    def passes(self, example: Tensor) -> tuple[Tensor, Tensor]:
        """Forward and backward passes of the runs that count, (b,) each."""
        runs = torch.arange(self.runs, device=example.device)
        counted = runs[None] <= self.winner[example][:, None]
        forwards, backwards = self.forwards[example], self.backwards[example]
        return (forwards * counted).sum(dim=1), (backwards * counted).sum(dim=1)


def _precedes(one: tuple[Tensor, Tensor, Tensor], other: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Whether a (success, run, rank) is a better answer than another, strictly."""
    (success, run, rank), (other_success, other_run, other_rank) = one, other
    lower = (rank < other_rank) | ((rank == other_rank) & (run < other_run))
    both_succeed, none_succeeds = success & other_success, ~success & ~other_success
    return (success & ~other_success) | (both_succeed & (run < other_run)) | (none_succeeds & lower)


def _by_rank(example: Tensor, success: Tensor, run: Tensor, rank: Tensor) -> Tensor:
    """The order by example, and within an example from the best answer to the worst."""
    order = run.argsort(stable=True)
    failed_rank = torch.where(success, torch.zeros_like(rank), rank)
    order = order[failed_rank[order].argsort(stable=True)]
    order = order[(~success)[order].to(torch.int8).argsort(stable=True)]
    return order[example[order].argsort(stable=True)]
