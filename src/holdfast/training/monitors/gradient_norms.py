"""Norms of input gradients on a training batch, from look to look; see `measures.gradient_norms`.

Source: Liu 2022, sec 5.2.3 (large and unequal gradients before single-step training collapses).
"""

from collections.abc import Mapping
from typing import Any

from holdfast.core.recipes import hyperparameters
from holdfast.measures.gradient_norms import GradientNorms as Measure
from holdfast.measures.gradient_norms import heterogeneity_ratio
from holdfast.training.monitors.protocol import Reading, Scene, When


@hyperparameters
class GradientNorms:
    """Records the norms of the examples' input gradients and how unequal they are.

    Args:
        every: `epoch`, or so many steps.
        momentum: beta of the comparison of adaptive steps with a constant one.
        measure: of the norms.

    Cost: one forward and backward of one batch.
    """

    every: When = "epoch"
    momentum: float = 0.5
    measure: Measure = Measure()

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The mean, median and largest norm, the ratio of the bounds (1 without a gradient), and
        the share of zero entries."""
        keys = scene.keys.fold("gradient-norms")
        sums = self.measure.update(scene.network, scene.x, scene.y, keys=keys)
        norms = sums["norm"].double()
        largest = float(norms.amax())
        figures = {
            "mean": float(norms.mean()),
            "median": float(norms.median()),
            "largest": largest,
            "ratio": heterogeneity_ratio(norms, self.momentum) if largest > 0 else 1.0,
            "zero": sums.mean("zero").value,
        }
        return Reading(figures)
