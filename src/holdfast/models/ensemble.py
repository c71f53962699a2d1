"""Several networks that answer together, as one module that can be attacked and kept.

    f(x) = log( (1/M) sum_m softmax f_m(x) )

The output stands for logits: its softmax is the mean of the members' probabilities, its
cross-entropy is minus the log of the mean probability of the label, and its argmax is the
prediction. An attack on it sees the whole ensemble.

Source: Liu 2022, sec 4.2.4 (the networks at the ends of the periods of periodic adversarial
    scheduling); Huang et al. 2017, arXiv:1704.00109 (snapshot ensembles).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.recipes import Count
from holdfast.models.options import Classes, InputShape, constructor
from holdfast.models.registry import Architecture, architecture_of, build_model, record


class Ensemble(nn.Module):
    """The log of the mean probabilities of several networks.

    Args:
        members: each from inputs (B, *E) to logits (B, K); kept as `members`.

    Guarantee: the exponentials of an answer add up to 1; adding a constant to a member's logits
        changes nothing; computed by logsumexp, so that no certain member makes it infinite.
    Cost: that of all members.

    Raises:
        InputError: no members; from `forward`, members with different numbers of classes.

    Example:
        >>> pair = Ensemble([nn.Linear(2, 3), nn.Linear(2, 3)])
        >>> pair(torch.rand(4, 2)).exp().sum(dim=1).allclose(torch.ones(4))
        True
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        if not members:
            raise InputError("members", described("no network"), "is no ensemble", "give some")
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *E) -> log p (B, K)."""
        logs = [member(x).log_softmax(dim=1) for member in self.members]
        sizes = sorted({each.shape[1] for each in logs})
        if len(sizes) > 1:
            shown = described(f"networks with {sizes} classes")
            raise InputError("members", shown, "cannot be averaged", "give networks of one task")
        return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))


def ensemble_of(members: Sequence[nn.Module]) -> nn.Module:
    """The ensemble of these networks; where they have one known architecture it is recorded, and
    `save_model` keeps the whole in one file."""
    made = Ensemble(members)
    known = [architecture_of(each) for each in members]
    first = known[0]
    if first is None or first.foreign or any(each != first for each in known):
        return made
    shape, classes = first.options["input_shape"], first.options["classes"]
    rest = tuple((k, v) for k, v in first.options.items() if k not in ("input_shape", "classes"))
    options = {
        "input_shape": shape,
        "classes": classes,
        "of": first.name,
        "members": len(made.members),
        "options": rest,
        "statistics": first.normalize,
    }
    return record(made, Architecture("ensemble", options))


@constructor
def ensemble(
    *,
    input_shape: InputShape = (1, 8, 8),
    classes: Classes = 10,
    of: str = "digits_conv",
    members: Count = 3,
    options: tuple[tuple[str, Any], ...] = (),
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Ensemble:
    """An ensemble of registered networks, with initial weights of their own.

    Args:
        of: the name of the members' network.
        members: how many.
        options: of their constructor, as pairs of a name and a value.
        statistics: mean and standard deviation by channel of their normaliser, or None.

    Raises:
        InputError: an unknown network or option.
    """
    common: dict[str, Any] = {"input_shape": input_shape, "classes": classes, **dict(options)}
    return Ensemble(
        [build_model(of, seed=i, normalize=statistics, **common) for i in range(members)]
    )
