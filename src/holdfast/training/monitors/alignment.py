"""Gradient alignment on a training batch, from look to look; see `measures.gradient_alignment`.

Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.5.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.core.recipes import hyperparameters
from holdfast.measures.gradient_alignment import GradientAlignment
from holdfast.training.monitors.protocol import Reading, Scene, When


@hyperparameters
class Alignment:
    """Records how little input gradients turn inside the threat.

    Args:
        every: `epoch`, or so many steps.
        measure: of the alignment.

    Cost: 2 forwards and backwards of one batch.
    """

    every: When = "epoch"
    measure: GradientAlignment = GradientAlignment()

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The mean cosine, and the share of examples without a gradient."""
        keys = scene.keys.fold("alignment")
        sums = self.measure.update(scene.network, scene.x, scene.y, scene.threat, keys=keys)
        cosine = self.measure.compute(sums).value
        return Reading({"cosine": cosine, "undefined": sums.mean("undefined").value})
