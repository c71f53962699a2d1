"""What the first block of an evaluation shows about the model before any attack is believed."""

import torch
from torch import Tensor

from holdfast.core.frozen import FrozenModel
from holdfast.data.images import ImageData


def probe(model: FrozenModel, data: ImageData, at: Tensor) -> list[str]:
    """Warnings on randomness and on bits that depend on the place in a block.

    Cost: 3 forwards of one block, not counted as passes of any example.
    """
    rows = at[: model.block or 1]
    if not len(rows):
        return []
    x = data.inputs(rows).to(model.device)
    before = model.passes.forwards
    first, again = model.logits(x), model.logits(x)
    turned = model.logits(x.flip(0)).flip(0)
    model.passes.forwards = before
    if not torch.equal(first, again):
        return [
            f"the model is randomised: two passes differ by up to {_gap(first, again):.2g}; "
            "accuracies are of one draw, and attacks on it are weak"
        ]
    if not torch.equal(first, turned):
        return [
            f"an example's output depends on its neighbours by up to {_gap(first, turned):.2g}: "
            "is a batch statistic in use? results may change with the block"
        ]
    return []


def _gap(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())
