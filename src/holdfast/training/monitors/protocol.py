"""What a monitor of training is. Imports torch for type checkers only, so that recipes can be
listed without it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from holdfast.core.recipes import Count

if TYPE_CHECKING:
    from torch import Tensor, nn

    from holdfast.core.random import Keys
    from holdfast.data.images import ImageData
    from holdfast.threats.protocol import Threat

Action = Literal["none", "stop", "rollback"]
"""What a monitor asks for when it fires: nothing but its warning; the end of training; or the end
with the weights of the last look that passed."""

When = Literal["epoch"] | Count
"""When a monitor looks: at the end of every epoch, or every so many steps."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What a monitor sees.

    Args:
        network: what is trained, without wrappers; left as found.
        kept: what is validated and kept: the average of the weights where there is one.
        x: (B, *E) inputs of the latest whole training batch, augmented.
        y: (B,) their labels; of mixed labels the largest.
        x_adv: (B, *E) what was trained on, or None.
        keys: of these examples in this epoch.
        threat: at its full radius, also while a schedule holds it below.
        step: weight steps done.
        epoch: in progress or just done, from 1.
        seed: of the recipe.
        training: all training examples.
        validation: what was held out, or None.
        folder: where pictures may be written, or None.
    """

    network: "nn.Module"
    kept: "nn.Module"
    x: "Tensor"
    y: "Tensor"
    x_adv: "Tensor | None"
    keys: "Keys"
    threat: "Threat"
    step: int
    epoch: int
    seed: int
    training: "ImageData"
    validation: "ImageData | None"
    folder: Path | None = None


@dataclass(frozen=True)
class Reading:
    """What a monitor found.

    Args:
        figures: to record, by name.
        past: plain data for the next look, kept in checkpoints.
        warning: one line, or None.
        action: what should happen now.
    """

    figures: Mapping[str, float]
    past: Mapping[str, Any] = field(default_factory=dict)
    warning: str | None = None
    action: Action = "none"


@runtime_checkable
class Monitor(Protocol):
    """Something that is looked at now and then: a frozen record of hyperparameters with one verb.

    One that cannot work without held-out examples has a class attribute `needs_validation = True`.
    """

    @property
    def every(self) -> When:
        """When it looks."""
        ...

    def look(self, scene: Scene, past: Mapping[str, Any]) -> Reading:
        """Looks at the training.

        Args:
            scene: what there is to see.
            past: of the reading before; empty at the first look.

        Guarantee: the network's weights, buffers, modes and gradients are as before; measured in
            evaluation mode and in float32; the same scene and past give the same reading.
        """
        ...
