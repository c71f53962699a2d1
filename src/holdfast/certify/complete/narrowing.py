"""Narrower boxes of open units, by the ascent of alpha-CROWN on each unit's own slopes.

The forms that a nonlinear node reads are themselves rows over the open units before it, so that the
ascent that bounds a query (`beta.py`) bounds them as well: once below and, negated, once above.

Source: Xu et al. 2021, arXiv 2011.13824, sec 3.1 (intermediate bounds optimised for themselves).
Departure: layer by layer, each for its own width, instead of all of them for the last bound.
"""

from dataclasses import dataclass, replace

import torch

from holdfast.certify.complete.beta import Dual
from holdfast.certify.complete.condensed import Condensed
from holdfast.certify.complete.splits import roots
from holdfast.certify.rounding import Box


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """An ascent for each open unit, below and above.

    Args:
        steps: of the ascent.
        step_size: of its first step, in slopes.
        decay: factor on it after each step.
        batch: rows that climb together.
        dtype: of the ascent.
    """

    steps: int
    step_size: float
    decay: float
    batch: int
    dtype: torch.dtype

    def __call__(self, program: Condensed) -> Box:
        """The box (Z,) of the outputs of a program."""
        program = replace(program, outputs=program.outputs.both())
        places = torch.arange(len(program.outputs.rows), device=program.outputs.rows.device)
        dual = Dual(program, program.fast(self.dtype), places.unsqueeze(1))
        start = roots(program, torch.ones_like(dual.queries, dtype=torch.bool))
        found = []
        for part in torch.split(places, self.batch):
            chosen = dual.ascend(start[part], self.steps, self.step_size, self.decay, 0.0)
            found.append(dual.bound(chosen)[0].lower)
        lower, upper = torch.cat(found).chunk(2)
        return Box(lower, -upper)
