"""The linearisation error on a training batch, from look to look; see `measures.linearization`.

Source: Andriushchenko 2024, sec 2.10.1.
"""

from collections.abc import Mapping
from typing import Any

from holdfast.core.recipes import hyperparameters
from holdfast.measures.linearization import LinearizationError
from holdfast.training.monitors.protocol import Reading, Scene, When


@hyperparameters
class Linearization:
    """Records how far the loss is from linear over the one-step and over a random perturbation.

    Args:
        every: `epoch`, or so many steps.

    Cost: 4 forwards and 2 backwards of one batch.
    """

    every: When = "epoch"

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The mean errors of both."""
        keys = scene.keys.fold("linearization")
        figures = {}
        for direction in ("fgsm", "random"):
            measure = LinearizationError(direction=direction)
            sums = measure.update(scene.network, scene.x, scene.y, scene.threat, keys=keys)
            figures[f"{direction}_error"] = measure.compute(sums).value
        return Reading(figures)
