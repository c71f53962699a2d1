"""Optimisers as records of hyperparameters; torch's own do the work.

The learning rate is no field of theirs: the loop sets it before every step from its schedule. A
group of parameters may have a `factor` of it for its own. On CUDA torch takes all parameters at
once (`foreach`), on the CPU one after the other.
"""

from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import NonNegative, Positive, Range, hyperparameters

Decayed = Literal["all", "weights"]
Share = Annotated[float, Range(ge=0, lt=1)]
_AFFINE = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)


@runtime_checkable
class OptimizerSpec(Protocol):
    """Makes an optimiser for the parameters of a model."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser, with learning rate 0."""
        ...


@hyperparameters
class SGD:
    """Stochastic gradient descent.

    Args:
        momentum: weight of the past gradients.
        weight_decay: times the weights, added to the gradient.
        nesterov: look ahead by the momentum.
        decay: which parameters decay: `all`, or `weights`, which leaves out biases and norms.
    """

    momentum: Share = 0.9
    weight_decay: NonNegative = 0.0
    nesterov: bool = False
    decay: Decayed = "all"

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov", True, "needs a momentum", "give momentum = 0.9")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the parameters that ask for a gradient, with learning rate 0."""
        groups = parameter_groups(model, self.weight_decay, self.decay)
        return torch.optim.SGD(groups, lr=0.0, momentum=self.momentum, nesterov=self.nesterov)


@hyperparameters
class Adam:
    """Adam.

    Args:
        betas: decay of the averages of the gradient and of its square.
        epsilon: added to the root of the latter.
        weight_decay: times the weights, added to the gradient, or, with `decoupled`, times the
            learning rate and taken from the weights (AdamW).
        decoupled: see `weight_decay`.
        decay: which parameters decay: `all`, or `weights`, which leaves out biases and norms.
    """

    betas: tuple[Share, Share] = (0.9, 0.999)
    epsilon: Positive = 1e-8
    weight_decay: NonNegative = 0.0
    decoupled: bool = False
    decay: Decayed = "all"

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the parameters that ask for a gradient, with learning rate 0."""
        groups = parameter_groups(model, self.weight_decay, self.decay)
        kind = torch.optim.AdamW if self.decoupled else torch.optim.Adam
        return kind(groups, lr=0.0, betas=self.betas, eps=self.epsilon)


def parameter_groups(
    model: nn.Module, weight_decay: float, decay: Decayed = "all"
) -> list[dict[str, Any]]:
    """The trainable parameters, split into those that decay and those that do not.

    With `weights`, parameters of one axis or none (biases, scales and shifts of norms) do not.

    Raises:
        InputError: nothing to train.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    if not parameters:
        raise InputError("model", type(model).__name__, "has no parameter to train", "unfreeze it")
    decaying = [each for each in parameters if decay == "all" or each.ndim > 1]
    others = [each for each in parameters if decay == "weights" and each.ndim <= 1]
    groups = ((decaying, weight_decay), (others, 0.0))
    return [{"params": each, "weight_decay": factor} for each, factor in groups if each]


def affine_weights(model: nn.Module) -> list[nn.Parameter]:
    """The weights of affine layers that ask for a gradient, in the order of the model.

    Affine layers are linear ones and convolutions, parametrised ones (weight norm, spectral norm)
    included, with what their weights are made of. Biases, scales and shifts of norms, and
    embeddings do not belong to them.
    """
    homes = [module for module in model.modules() if isinstance(module, _AFFINE)]
    found = dict.fromkeys(each for home in homes for each in home.parameters())
    return [each for each in found if each.ndim > 1 and each.requires_grad]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of the next step: for all parameters, times the `factor` of their group
    where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)
