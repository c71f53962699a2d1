"""Certified radii by the polyhedral envelope: each look gives a radius, also where it fails.

A bisection learns one bit from a look at radius eps. The envelope of the same linear bounds gives a
certified radius r(eps) <= eps (`envelope.py`), which raises the lower end where eps fails:

    low <- max(low, r(eps)),   high <- eps if r(eps) < eps.

Source: Liu 2022, sec 3.3.2, Alg. 3.5.
Departures: the text returns the middle of the last bracket, an estimate; here it is the lower end.
    It asserts that r decreases in eps, which relaxations of nested sets need not do; the search is
    sound in any case.
"""

from torch import Tensor

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.radii.envelope import PEC
from holdfast.certify.radii.radius import Look, Search
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.threats.base import Ball


@hyperparameters
class EnvelopeSearch(Search):
    """Bisection whose lower end is raised by the envelope at every look.

    Args:
        intervals: whether rows that intervals prove count as proved; the source has none.

    Guarantee: see `Search.find`.
    Cost: at most that of `Bisection`, with all rows open.
    Needs: linear bounds (`dual`, `crown`, `crown-ibp`).
    Source: Liu 2022, Alg. 3.5.
    """

    intervals: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.method, Linear):
            found = type(self.method).__name__
            raise InputError(
                "method", found, "has no linear forms", "give dual, crown or crown-ibp"
            )

    def _look(
        self,
        graph: Graph,
        x: Tensor,
        threat: Ball,
        spec: Tensor,
        radius: Tensor,
        keys: Keys | None,
    ) -> Look:
        del keys
        assert isinstance(self.method, Linear)
        pec = PEC(method=self.method, intervals=self.intervals)
        envelope = pec.envelope(graph, x, threat, spec)
        values = envelope.lower(radius).masked_fill(envelope.proved, float("inf"))
        return Look(envelope.within(radius), values, 0 * radius)
