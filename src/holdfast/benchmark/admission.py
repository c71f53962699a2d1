"""What an evaluation asks of its examples and of the model before anything is computed."""

import hashlib

import torch
from torch import Tensor, nn

from holdfast.core.counting import PassCounter
from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, Model
from holdfast.data.checks import check_inputs
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Threat


def check_examples(data: ImageData, threat: Threat) -> None:
    """Refuses examples outside the threat's box, or that stand twice.

    Raises:
        InputError: of an input that the threat could not even contain, or a repeated index.
    """
    if len(torch.unique(data.index)) != len(data):
        shown = described(f"{len(data)} examples")
        raise InputError("data", shown, "hold an index twice", "give each example its own")
    for rows in torch.split(torch.arange(len(data)), 4096):
        check_inputs(data.inputs(rows), threat.box, argument="data")


def outputs_digest(model: FrozenModel, data: ImageData) -> str:
    """A digest of the model's answers to the first block, so that code counts beside weights.

    Returns:
        16 digits, or `randomised` where two passes differ.

    Raises:
        InputError: parameters are not float32, or the model fails on inputs of this shape.
    """
    _check_parameters(model.model)
    x = data.inputs(torch.arange(min(len(data), model.block or 1))).to(model.device)
    try:
        with model:
            first, again = model.logits(x), model.logits(x)
    except RuntimeError as cause:
        shown = described(f"inputs of shape {tuple(x.shape)}")
        problem = f"make it fail ({' '.join(str(cause).split())[:120]})"
        raise InputError("model", shown, problem, "check the data's shape") from cause
    finally:
        model.passes = PassCounter()
    if not torch.equal(first, again):
        return "randomised"
    return hashlib.sha256(first.float().cpu().numpy().tobytes()).hexdigest()[:16]


def _check_parameters(model: Model) -> None:
    parameters: list[Tensor] = list(model.parameters()) if isinstance(model, nn.Module) else []
    for parameter in parameters:
        if parameter.is_floating_point() and parameter.dtype != torch.float32:
            shown = described(f"parameters of {parameter.dtype}".replace("torch.", ""))
            raise InputError("model", shown, "are not float32", "give model.float()")
