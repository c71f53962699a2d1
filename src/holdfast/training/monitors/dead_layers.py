"""Dead units on a training batch, from look to look; see `measures.dead_layers`.

Source: Liu 2022, sec 4.2.3 (dead layers under large radii); Andriushchenko 2024, sec 2.5 (active
    units).
"""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from holdfast.core.recipes import hyperparameters
from holdfast.measures.dead_layers import DeadUnits
from holdfast.training.monitors.protocol import Action, Reading, Scene, When


@hyperparameters
class DeadLayers:
    """Records the share of ReLU units that no example of a batch activates, and warns of layers in
    which all are dead.

    Args:
        every: `epoch`, or so many steps.
        action: what happens at the first dead layer.

    Cost: one forward of one batch.
    Needs: rectifiers that are modules.
    """

    every: When = "epoch"
    action: Action = "none"

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The shares of dead and of active units, the number of dead layers, and the spread of the
        logits."""
        measure = DeadUnits()
        sums = measure.update(scene.network, scene.x, scene.y)
        figures = {
            "dead": measure.compute(sums).value,
            "active": fmean(sums.active.values()),
            "layers": float(len(sums.dead_layers)),
            "spread": sums.spread,
        }
        fresh = [name for name in sums.dead_layers if name not in past.get("layers", [])]
        text = f"dead layers at step {scene.step}: {', '.join(fresh)}" if fresh else None
        action: Action = self.action if fresh else "none"
        return Reading(figures, {"layers": list(sums.dead_layers)}, text, action)
