"""What a black-box attack costs: queries per success, failures, success within a budget.

    failure rate   share of the examples, right when clean, that stay right within the budget
    mean, median   queries, over the examples that were right and are broken
    SR(q)          share of the examples, right when clean, that are broken within q queries

A query is one forward pass of the attack; the clean pass, which tells whether an example is right
to begin with, and the pass that confirms a success are none. Means over successes flatter the
weaker of two attacks, which solves the easy examples only: `on_common` restricts all to the
examples that every one of them breaks.

Source: Andriushchenko, Croce, Flammarion and Hein 2020, arXiv:1912.00049, sec 5 and Tables 2 and 3;
Andriushchenko 2024, sec 3.6.1, 3.6.2 and 3.12.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from holdfast.core.errors import InputError, described
from holdfast.core.results import AttackResult, Outcome


@dataclass(frozen=True, eq=False)
class Queries:
    """What an attack did to each of n examples.

    Args:
        correct: (n,) bool, right before any perturbation.
        broken: (n,) bool, right before and wrong after.
        queries: (n,) int64; 0 where the clean input was wrong already.

    Raises:
        InputError: columns of different lengths, or a broken example that was never right.

    Example:
        >>> right, fell = torch.tensor([True, True, False]), torch.tensor([True, False, False])
        >>> found = Queries(right, fell, torch.tensor([7, 100, 0]))
        >>> found.failure_rate, found.mean_queries, found.robust_accuracy
        (0.5, 7.0, 0.3333333333333333)
    """

    correct: Tensor
    broken: Tensor
    queries: Tensor

    def __post_init__(self) -> None:
        shapes = {tuple(each.shape) for each in (self.correct, self.broken, self.queries)}
        if len(shapes) != 1 or self.correct.ndim != 1:
            found = described(f"columns of shapes {sorted(shapes)}")
            raise InputError("queries", found, "do not fit", "give three columns (n,)")
        if bool((self.broken & ~self.correct).any()):
            found = described("an example that was wrong when clean")
            raise InputError("broken", found, "cannot be broken", "leave it out")

    @classmethod
    def of(cls, result: AttackResult) -> "Queries":
        """Counts from an attack that asks for scores on a deterministic model: its forwards without
        the clean one and without the one that confirms a success."""
        broken = result.outcome == Outcome.BROKEN
        correct = result.outcome != Outcome.MISCLASSIFIED
        queries = result.forwards - 1 - broken.to(result.forwards)
        return cls(correct, broken, torch.where(correct, queries, 0))

    def __len__(self) -> int:
        return len(self.correct)

    @property
    def failure_rate(self) -> float | None:
        """The share of right examples that stand; None where none was right."""
        right = int(self.correct.sum())
        return None if right == 0 else 1 - int(self.broken.sum()) / right

    @property
    def robust_accuracy(self) -> float | None:
        """The share of all examples that are right and stand; None without examples."""
        return int((self.correct & ~self.broken).sum()) / len(self) if len(self) else None

    @property
    def mean_queries(self) -> float | None:
        """The mean over the broken examples; None where none fell."""
        spent = self.queries[self.broken]
        return float(spent.double().mean()) if len(spent) else None

    @property
    def median_queries(self) -> float | None:
        """The median over the broken examples, the mean of the middle two where they are even;
        None where none fell."""
        spent = self.queries[self.broken].sort().values
        if not len(spent):
            return None
        return (int(spent[(len(spent) - 1) // 2]) + int(spent[len(spent) // 2])) / 2

    @property
    def mean_spent(self) -> float | None:
        """The mean over all right examples, a failure at what it spent: it does not flatter an
        attack that fails on the hard ones; None where none was right."""
        spent = self.queries[self.correct]
        return float(spent.double().mean()) if len(spent) else None

    def success_rate(self, budget: int) -> float | None:
        """SR(budget); None where no example was right."""
        right = int(self.correct.sum())
        return int((self.broken & (self.queries <= budget)).sum()) / right if right else None

    def success_curve(self, budgets: Sequence[int]) -> list[float | None]:
        """SR at each budget."""
        return [self.success_rate(budget) for budget in budgets]

    def rows(self, which: Tensor) -> "Queries":
        """Those of the examples `which`, a mask or positions."""
        return Queries(self.correct[which], self.broken[which], self.queries[which])

    def statistics(self) -> dict[str, float | int | None]:
        """All of it as plain data."""
        return {
            "examples": len(self),
            "correct": int(self.correct.sum()),
            "broken": int(self.broken.sum()),
            "failure_rate": self.failure_rate,
            "robust_accuracy": self.robust_accuracy,
            "mean_queries": self.mean_queries,
            "median_queries": self.median_queries,
            "mean_spent": self.mean_spent,
        }


def on_common(attacks: Mapping[str, Queries]) -> dict[str, Queries]:
    """Each attack's outcome on the examples that every attack breaks.

    Args:
        attacks: outcomes on the same examples in the same order, by name.

    Guarantee: all have the same examples, and all of those are broken.

    Raises:
        InputError: no attacks, or of different numbers of examples.

    Example:
        >>> right = torch.tensor([True, True])
        >>> quick = Queries(right, torch.tensor([True, False]), torch.tensor([5, 90]))
        >>> slow = Queries(right, right, torch.tensor([20, 80]))
        >>> slow.mean_queries, on_common({"quick": quick, "slow": slow})["slow"].mean_queries
        (50.0, 20.0)
    """
    sizes = {len(each) for each in attacks.values()}
    if len(sizes) != 1:
        found = described(f"outcomes on {sorted(sizes)} examples")
        raise InputError("attacks", found, "cannot be compared", "attack the same examples")
    every = torch.stack([each.broken for each in attacks.values()]).all(dim=0)
    return {name: each.rows(every) for name, each in attacks.items()}


def any_of(runs: Sequence[Queries]) -> Queries:
    """One after the other until one breaks an example, as restarts with other seeds are counted.

    Args:
        runs: outcomes of the same examples, in the order in which they are spent.

    Raises:
        InputError: as `on_common`.
    """
    sizes = {len(each) for each in runs}
    if len(sizes) != 1:
        found = described(f"outcomes on {sorted(sizes)} examples")
        raise InputError("runs", found, "cannot be joined", "attack the same examples")
    broken, queries = torch.zeros_like(runs[0].broken), torch.zeros_like(runs[0].queries)
    for each in runs:
        queries = queries + torch.where(broken, 0, each.queries)
        broken = broken | each.broken
    return Queries(runs[0].correct, broken, queries)
