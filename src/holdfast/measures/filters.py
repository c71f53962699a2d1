"""The filters of a network with one convolution: their size, their response to noise, ablation.

In the four-filter network single-step training collapses through one filter: its weights w_i and
outgoing weights u_i grow while the others do not, it becomes a high-pass filter that answers to
noise more than to the image,

    noise gain of filter i = || eta * w_i || / || x * w_i ||,   eta uniform in the ball,

and without it (w_i = 0) the gradients are aligned again. Which filter it is varies with the seed:
`grown` finds it by its growth.

Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, sec 2.5, 2.9 and
    2.10.2 (Figs 2.5 to 2.7, 2.11 to 2.13).
Departures: the noise gain leaves out biases; ablation leaves the bias, which sees no input.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.frozen import FrozenModel, device_of
from holdfast.core.random import Keys
from holdfast.core.recipes import hyperparameters
from holdfast.core.results import Estimate
from holdfast.measures.columns import Block, Columns, look_at, needed
from holdfast.threats.protocol import Threat


@dataclass(frozen=True, eq=False)
class FilterNorms:
    """The sizes of m filters.

    Args:
        weights: (m,) ||w_i||_2 of the filters.
        outgoing: (m,) ||u_i||_2 of the weights that read filter i.
    """

    weights: Tensor
    outgoing: Tensor


@hyperparameters
class NoiseGain:
    """How much more each filter answers to a random point of the threat than to the image.

    Cost: two convolutions per example.
    Needs: a network that starts, up to layers without weights, with a convolution and one linear
        layer.
    """

    def update(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        threat: Threat | None = None,
        *,
        keys: Keys | None = None,
    ) -> Columns:
        """The column `gain`, (n, m): ||eta * w_i|| / ||x * w_i||; infinite where a filter is blind
        to the image.

        Raises:
            InputError: no examples, no threat, or another architecture.
        """
        convolution, _ = layers(model)
        shown = FrozenModel(_response(convolution), device=device_of(model))
        return look_at(shown, x, y, needed(threat), keys, self._look)

    def compute(self, sums: Columns) -> Estimate:
        """The mean over examples of the largest gain; the column has the filters."""
        return Columns({"most": sums["gain"].amax(dim=1)}).mean("most")

    def _look(self, frozen: FrozenModel, block: Block) -> Mapping[str, Tensor]:
        keys, threat = block.keys.fold("noise"), needed(block.threat)
        noise = threat.sample(block.x, keys=keys) - block.x
        respond = cast(nn.Module, frozen.model)
        sizes = [respond(each).double().flatten(2).norm(dim=2) for each in (noise, block.x)]
        return {"gain": sizes[0] / sizes[1]}


def filter_norms(model: nn.Module) -> FilterNorms:
    """The sizes of the filters of a network of one convolution and one linear layer, float64.

    Raises:
        InputError: another architecture.

    Example:
        >>> from holdfast.models.four_filter import four_filter
        >>> norms = filter_norms(four_filter(input_shape=(1, 4, 5), classes=3))
        >>> norms.weights.shape, norms.outgoing.shape
        (torch.Size([4]), torch.Size([4]))
    """
    convolution, linear = layers(model)
    outgoing = (
        linear.weight.detach().double().view(linear.out_features, len(convolution.weight), -1)
    )
    weights = convolution.weight.detach().double().flatten(1).norm(dim=1)
    return FilterNorms(weights, outgoing.transpose(0, 1).flatten(1).norm(dim=1))


def grown(before: nn.Module, after: nn.Module) -> int:
    """The filter whose product of norms ||w_i|| ||u_i|| has grown most, as a ratio.

    Raises:
        InputError: another architecture, or different numbers of filters.
    """
    old, new = filter_norms(before), filter_norms(after)
    if len(old.weights) != len(new.weights):
        found = described(f"{len(new.weights)} filters")
        raise InputError("after", found, f"are not {len(old.weights)}", "compare one network")
    start = (old.weights * old.outgoing).clamp_min(torch.finfo(torch.float64).tiny)
    return int((new.weights * new.outgoing / start).argmax())


def ablated(model: nn.Module, *filters: int) -> nn.Module:
    """A copy of the network in which the weights of these filters are zero.

    Guarantee: the model itself is unchanged; with outgoing weights of 0, the copy's logits are the
        model's.

    Raises:
        InputError: another architecture, or a filter that is not there.
    """
    copied = copy.deepcopy(model)
    convolution, _ = layers(copied)
    for each in filters:
        if not 0 <= each < len(convolution.weight):
            remedy = f"give 0 to {len(convolution.weight) - 1}"
            raise InputError("filters", each, "is not a filter", remedy)
        with torch.no_grad():
            convolution.weight[each] = 0.0
    return copied


def feature_maps(model: nn.Module, x: Tensor) -> Tensor:
    """What the filters see, after the ReLU, (B, m, H', W').

    Raises:
        InputError: another architecture.
    """
    convolution, _ = layers(model)
    with torch.no_grad():
        return convolution(x.to(convolution.weight)).relu()


def layers(model: nn.Module) -> tuple[nn.Conv2d, nn.Linear]:
    """The convolution and the linear layer of a network that has these two alone.

    Raises:
        InputError: other layers with weights, or shapes that do not fit each other.
    """
    weighted = [each for each in model.modules() if "weight" in each._parameters]
    if [type(each) for each in weighted] == [nn.Conv2d, nn.Linear]:
        convolution, linear = cast(nn.Conv2d, weighted[0]), cast(nn.Linear, weighted[1])
        if linear.in_features % convolution.out_channels == 0:
            return convolution, linear
    found = described(", ".join(type(each).__name__ for each in weighted) or "no layers")
    raise InputError("model", found, "is not one convolution and one linear layer", "four_filter")


def _response(convolution: nn.Conv2d) -> nn.Module:
    """The convolution without its bias."""
    bare = copy.deepcopy(convolution)
    bare.bias = None
    return bare
