"""The columns of a table of provable robustness: errors and certified radii of one network.

    clean error            misclassified                                              CTE
    attacked error         broken by PGD, or misclassified                            PGD
    linear error           not certified at eps by linear bounds                      CRE Lin
    interval error         not certified at eps by intervals                          CRE IBP
    linear, interval radius  mean of eps where certified, else 0                      ACB Lin, IBP
    envelope radius        mean of min(eps, d): the polyhedral envelope, one look     ACB PEC

Misclassified examples count as errors and with radius 0 in every column. Example by example

    misclassified  =>  attacked  =>  neither linear nor interval certified,
    linear certified  <=>  envelope radius = eps,

so that ACB Lin = eps (1 - CRE Lin), and ACB Lin <= ACB PEC <= eps (1 - CTE). `VerifiedRow.breaches`
lists what does not hold.

Source: Liu 2022, sec 3.3.4 (Tables 3.6 to 3.8).
Departures: the published tolerances of success are not used: a certificate is strict and includes
    rounding. The thesis does not give PGD's steps; 20 of eps / 10 are those of its published code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.bounds.linear import Dual, Linear
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.envelope import PEC, reach_of
from holdfast.certify.spec import certified, margin_rows
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, hyperparameters
from holdfast.core.results import Outcome
from holdfast.threats.base import Ball

_CLOSE = 1e-9


@dataclass(frozen=True, eq=False)
class VerifiedRow:
    """What was found, example by example; every column has shape (B,).

    Args:
        eps: the radius.
        misclassified: without any perturbation.
        broken: by the attack, or misclassified.
        linear: certified at eps by linear bounds.
        interval: certified at eps by intervals.
        envelope: the radius that the polyhedral envelope certifies, at most eps.
    """

    eps: Tensor
    misclassified: Tensor
    broken: Tensor
    linear: Tensor
    interval: Tensor
    envelope: Tensor

    def figures(self) -> dict[str, float]:
        """The means over the examples, error rates as fractions."""
        one_shot = {"linear": self.linear, "interval": self.interval}
        return {
            "clean_error_rate": _mean(self.misclassified),
            "pgd_error_rate": _mean(self.broken),
            **{f"{name}_error_rate": _mean(~each) for name, each in one_shot.items()},
            **{f"{name}_radius": _mean(self.eps * each) for name, each in one_shot.items()},
            "envelope_radius": _mean(self.envelope),
        }

    def breaches(self) -> list[str]:
        """The invariants that some example breaks, in words; empty where all is well."""
        proved = self.linear | self.interval
        whole = self.envelope >= self.eps * (1 - _CLOSE)
        checks = {
            "a misclassified example is not broken": self.misclassified & ~self.broken,
            "an example is broken and certified": self.broken & proved,
            "a misclassified example has a radius": self.misclassified & (self.envelope > 0),
            "linear bounds and envelope differ at eps": self.linear != whole,
            "a certified radius is above eps": self.envelope > self.eps,
        }
        return [what for what, wrong in checks.items() if bool(wrong.any())]


@hyperparameters
class VerifiedColumns:
    """What measures a row.

    Args:
        attack: for the attacked error.
        linear: for the linear error and the envelope.
        interval: for the interval error.
        block: examples that are bounded at the same time.

    Guarantee: what counts as certified is proved where the methods' bounds are.
    Cost: the attack; of each example one linear bound with all rows open and one interval bound.
    Needs: a model that can be captured; a norm ball with a finite radius.

    Example:
        >>> from holdfast.threats import Linf
        >>> model, x, y = nn.Linear(4, 3), torch.rand(2, 4), torch.tensor([0, 1])
        >>> row = VerifiedColumns(attack=PGD(steps=2)).measure(model, x, y, Linf(0.1))
        >>> row.breaches(), sorted(row.figures())[:2]
        ([], ['clean_error_rate', 'envelope_radius'])
    """

    attack: Annotated[Attack, From(ATTACKS)] = PGD(steps=20, restarts=1, step_size="eps/10")
    linear: Annotated[Linear, From(BOUNDS)] = Dual()
    interval: Annotated[Interval, From(BOUNDS)] = Interval(first_layer="support")
    block: Count = 100

    def measure(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Ball, *, keys: Keys | None = None
    ) -> VerifiedRow:
        """The columns of a model on examples.

        Args:
            model: a module.
            x, y: (B, *E) and (B,).
            threat: its radius is eps.
            keys: for the attack.

        Raises:
            CaptureError: the model cannot be captured.
            InputError: no examples.
            UnsupportedThreat: the threat is no norm ball.
        """
        if not len(x):
            raise InputError("x", 0, "is empty", "give examples")
        graph = capture(model, x.shape[1:])
        found = self.attack.run(model, x, y, threat, keys=keys)
        wrong = found.outcome == Outcome.MISCLASSIFIED
        parts = [
            self._bounded(graph, x[which], y[which], threat.rows(which))
            for which in torch.split(torch.arange(len(x), device=x.device), self.block)
        ]
        columns = {name: torch.cat([each[name] for each in parts]) for name in parts[0]}
        return VerifiedRow(
            eps=reach_of(threat, x), misclassified=wrong, broken=wrong | found.success, **columns
        )

    def _bounded(self, graph: Graph, x: Tensor, y: Tensor, threat: Ball) -> Mapping[str, Tensor]:
        """The columns that bounds give."""
        spec = margin_rows(y, graph.output_shape[0])
        envelope = PEC(method=self.linear, intervals=False).envelope(graph, x, threat, spec)
        return {
            "linear": envelope.holds(envelope.reach),
            "interval": certified(self.interval.bound(graph, x, threat, spec)),
            "envelope": envelope.radius().double(),
        }


def _mean(column: Tensor) -> float:
    return float(column.double().mean())
