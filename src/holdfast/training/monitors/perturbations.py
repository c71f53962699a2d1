"""Perturbations of a training batch, from look to look; see `measures.perturbations`.

A network that collapsed is robust at the corners of the ball only: the strong attack ends inside.

Source: Wong 2020, sec 4.1.2, Fig 4.3; Andriushchenko 2024, sec 2.5, Fig 2.4.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from holdfast.core.recipes import hyperparameters
from holdfast.core.tensors import norm, per_example
from holdfast.measures.perturbations import PerturbationCosine, Perturbations, shares
from holdfast.training.monitors.protocol import Reading, Scene, When


@hyperparameters
class PerturbationShape:
    """Records where a strong attack's perturbations end, how they compare with those of one step,
    and those that were trained on.

    Args:
        every: `epoch`, or so many steps.
        measure: of the strong attack's perturbations.
        cosine: of them with those of one step.

    Cost: 21 forwards and backwards of one batch by default.
    Needs: a threat with one radius, above 0.
    """

    every: When = "epoch"
    measure: Perturbations = Perturbations()
    cosine: PerturbationCosine = PerturbationCosine()

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """Shares of coordinates at the boundary, inside and at zero; sizes; the cosine; and of the
        inputs trained on `trained_boundary`, `trained_mean_abs` and `trained_l2`."""
        keys = scene.keys.fold("perturbations")
        seen = (scene.network, scene.x, scene.y, scene.threat)
        sums = self.measure.update(*seen, keys=keys)
        names = ("boundary", "interior", "zero", "mean_abs", "l2")
        figures = {name: sums.mean(name).value for name in names}
        found = self.cosine.update(*seen, keys=keys)
        figures["cosine"] = self.cosine.compute(found).value
        if scene.x_adv is not None and scene.x_adv.shape == scene.x.shape:
            figures |= _trained(scene, scene.x_adv, self.measure.tolerance)
        return Reading(figures)


def _trained(scene: Scene, x_adv: Tensor, tolerance: float) -> dict[str, float]:
    delta = x_adv.double() - scene.x.double()
    scaled = delta / per_example(scene.threat.radius, delta)
    return {
        "trained_boundary": float(shares(scaled, tolerance)[0].mean()),
        "trained_mean_abs": float(scaled.abs().mean()),
        "trained_l2": float(norm(delta, 2).mean()),
    }
