"""What the objectives share: the loss of the weight step, and the model without its wrappers."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from holdfast.core.random import Keys
from holdfast.core.recipes import Range
from holdfast.training.precision import Autocast

AttackMode = Literal["eval", "batch", "train"]
"""How batch norm behaves while the inner attack runs: running statistics, batch statistics without
updates, batch statistics with updates (as the theses' code does)."""

Smoothing = Annotated[float, Range(ge=0, lt=1)]


def fit(
    model: nn.Module, x: Tensor, y: Tensor, label_smoothing: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """The mean cross-entropy of a batch, and the scalars to log: `loss` and `accuracy`.

    Args:
        y: (B,) labels, or (B, K) probabilities.
    """
    logits = model(x.clone())  # a network may work on its input in place
    loss = cross_entropy(logits, y, label_smoothing=label_smoothing)
    return loss, {"loss": loss.detach(), "accuracy": share_right(logits, y)}


def share_right(logits: Tensor, y: Tensor) -> Tensor:
    """The accuracy of a batch as a scalar tensor, on its device; of probabilities y (B, K) the
    largest counts."""
    labels = y if y.ndim == 1 else y.argmax(dim=1)
    return (logits.detach().argmax(dim=1) == labels).float().mean()


def zero_share(gradient: Tensor) -> Tensor:
    """The share of entries of input gradients that are exactly zero, a scalar tensor: a signed step
    leaves these coordinates where they are, and where it is large the gradient is masked."""
    return (gradient.detach() == 0).float().mean()


def bare(model: nn.Module) -> nn.Module:
    """The model without the wrapper of distributed training: attacks run on it alone."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def plain(model: nn.Module) -> nn.Module:
    """The network itself, without the wrappers of distributed training, mixed precision and
    compilation: second derivatives and captures are taken of it."""
    network = bare(model)
    if isinstance(network, Autocast):
        network = network.network
    eager: nn.Module = getattr(network, "_orig_mod", network)
    return eager


def keys_or_content(keys: Keys | None, x: Tensor) -> Keys:
    """The keys given, or keys by the examples' own bytes."""
    return Keys.by_content(0, x) if keys is None else keys.to(x.device)


def accuracy_in(margins: Tensor, y: Tensor) -> Tensor:
    """The share of examples whose margins (B, K) over all classes but y are positive."""
    others = torch.ones_like(margins, dtype=torch.bool).scatter(1, y[:, None], False)
    return ((margins > 0) | ~others).all(dim=1).float().mean()
