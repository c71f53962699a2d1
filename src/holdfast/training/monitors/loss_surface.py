"""The loss over a slice of the input space, written when it becomes distorted; see
`measures.loss_surface`.

Source: Liu 2022, sec 5.2, Fig 5.5.
Departures: that a slice is distorted is judged by the share of examples whose loss is larger on the
way of the one step than at its end.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.core.recipes import Count, Fraction, hyperparameters
from holdfast.measures.loss_surface import LossSurface as Measure
from holdfast.models.weights import write_tensors
from holdfast.training.monitors.protocol import Action, Reading, Scene, When


@hyperparameters
class LossSurface:
    """Records the share of distorted examples, and writes the slices when it rises.

    The file is `monitors/loss-surface-STEP.safetensors` in the run, with the tensors `losses` and
    `right` (n, points, points), `x` and `y`; without a run nothing is written.

    Args:
        every: `epoch`, or so many steps.
        measure: of the slice.
        examples: of the batch, the first ones.
        rise: of the share from the look before that fires.
        action: what happens then.

    Cost: points^2 + 1 forwards and one backward per example.
    """

    every: When = "epoch"
    measure: Measure = Measure(points=11)
    examples: Count = 32
    rise: Fraction = 0.2
    action: Action = "none"

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """The share of distorted examples."""
        count = min(self.examples, len(scene.x))
        x, y, keys = scene.x[:count], scene.y[:count], scene.keys[:count].fold("loss-surface")
        sums = self.measure.update(scene.network, x, y, scene.threat, keys=keys)
        share = self.measure.compute(sums).value
        before = past.get("distorted")
        fires = before is not None and share - before > self.rise
        text = None
        if fires:
            text = (
                f"the loss surface became distorted at step {scene.step}: of {count} examples "
                f"{share:.0%} after {before:.0%}"
            )
            _write(scene, {"losses": sums["losses"], "right": sums["right"], "x": x, "y": y})
        action: Action = self.action if fires else "none"
        return Reading({"distorted": share}, {"distorted": share}, text, action)


def _write(scene: Scene, tensors: Mapping[str, Tensor]) -> None:
    if scene.folder is not None:
        path = scene.folder / f"loss-surface-{scene.step}.safetensors"
        write_tensors(path, dict(tensors), {"step": str(scene.step)})
