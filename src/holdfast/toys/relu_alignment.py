"""Gradient alignment of a random ReLU network on patches: its limit, and bounds of it.

    f(x) = sum_i sum_j u_ij max(<w_i, z_j> + b_i, 0) + c,   z_1 ... z_k the disjoint patches of x,
    grad f = sum_i sum_j u_ij 1[<w_i, z_j> + b_i >= 0] w_i e_j'.

Lemma 2: let z ~ U([0, 1]^p), eta ~ U([-eps, eps]^p), w ~ N(0, sigma_w^2 I), u ~ N(0, sigma_u^2 I)
and b = 0. As the filters m and the patches k grow, cos(grad f(x), grad f(x + eta)) tends to

    limit = E[||w||^2 1(<w, z> >= 0) 1(<w, z + eta> >= 0)] / (p sigma_w^2 / 2)
          >= B1 = max( 1 - E[||w||^2 exp(-<w/||w||, z>^2 / (2 eps^2))] / (p sigma_w^2), 1/2 )
          >= B2 = max( 1 - sqrt(2) E[exp(-<w/||w||, z>^2 / eps^2)]^(1/2), 1/2 ),

so that networks are aligned when training starts, for small eps. For one filter,

    cos = sum_i u_i^2 1_i 1'_i / sqrt( sum_i u_i^2 1_i * sum_i u_i^2 1'_i ),

with 1_i and 1'_i the active patches of x and of x + eta: few active when clean and half when noisy
is how the alignment of a trained network is lost.

Symbols: m -> filters, k -> patches, p -> `patch`, eps -> `radius`.
Source: Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, Lemma 2, Eq 2.6
    and 2.9, sec 2.5 and 2.8.2, Fig 2.9.
Departures: expectations are sampled, with both signs of every w, and divided by the sampled mean of
||w||^2. The text has all curves of Fig 2.9 above 0.7 up to eps = 0.1; B2 is 0.51 there.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError, described
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, Positive, hyperparameters


@dataclass(frozen=True, eq=False)
class Alignment:
    """The quantities of Lemma 2 at one radius.

    Args:
        limit: the cosine of infinitely many filters and patches.
        hoeffding: B1.
        cauchy_schwarz: the bound between B1 and B2, with sqrt(1 + 2/p) in the place of sqrt(2).
        lemma: B2.
    """

    limit: float
    hoeffding: float
    cauchy_schwarz: float
    lemma: float


@hyperparameters
class InitialAlignment:
    """Lemma 2, by sampling.

    Args:
        patch: p, at least 2.
        samples: pairs of a filter and a patch; the limit's standard error is below
            1 / sqrt(samples).
        weight_scale: sigma_w; of no effect on any quantity.
        seed: of the samples, which all radii share.

    Guarantee: limit >= hoeffding >= cauchy_schwarz >= lemma >= 0.5 but for sampling errors.
    Cost: about samples * p operations.

    Example:
        >>> found = InitialAlignment(samples=2000).at(8 / 255)
        >>> found.limit > found.hoeffding > found.lemma > 0.5
        True
    """

    patch: Count = 27
    samples: Count = 100_000
    weight_scale: Positive = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patch < 2:
            raise InputError("patch", self.patch, "is too small for the lemma", "give 2 or more")

    def at(self, radius: float) -> Alignment:
        """The limit and its bounds for a perturbation of this radius."""
        return self.over([radius])[0]

    def over(self, radii: list[float]) -> list[Alignment]:
        """The same for several radii, from the same samples.

        Raises:
            InputError: a radius that is not positive.
        """
        if not all(radius > 0 for radius in radii):
            raise InputError("radii", radii, "holds one that is not positive", "give radii above 0")
        keys = Keys.of(self.seed, range(self.samples))
        weight = self.weight_scale * keys.fold("weight").normal((self.patch,)).double()
        patches = keys.fold("patch").uniform((self.patch,)).double()
        noise = 2 * keys.fold("noise").uniform((self.patch,)).double() - 1
        squares = weight.square().sum(dim=1)
        clean, shift = (weight * patches).sum(dim=1), (weight * noise).sum(dim=1)
        return [self._at(radius, squares, clean, shift) for radius in radii]

    def _at(self, radius: float, squares: Tensor, clean: Tensor, shift: Tensor) -> Alignment:
        agree = clean * (clean + radius * shift) >= 0
        exponent = clean.square() / (squares * radius**2)
        flat = (squares * torch.exp(-exponent / 2)).mean() / squares.mean()
        root = float(torch.exp(-exponent).mean().sqrt())
        return Alignment(
            float((squares * agree).mean() / squares.mean()),
            max(1 - float(flat), 0.5),
            max(1 - math.sqrt(1 + 2 / self.patch) * root, 0.5),
            max(1 - math.sqrt(2) * root, 0.5),
        )


@dataclass(frozen=True, eq=False)
class PatchNet:
    """f(x) on inputs of k patches of p features each, (B, k p); all answers are float64.

    Args:
        weight: w, (m, p).
        output: u, (m, k).
        bias: b, (m,).
    """

    weight: Tensor
    output: Tensor
    bias: Tensor

    def __post_init__(self) -> None:
        fits = self.weight.ndim == 2 and self.bias.shape == self.weight.shape[:1]
        if not fits or self.output.ndim != 2 or len(self.output) != len(self.weight):
            shapes = [tuple(each.shape) for each in (self.weight, self.output, self.bias)]
            found = described(f"tensors of shapes {shapes}")
            remedy = "give (m, p), (m, k) and (m,)"
            raise InputError("weight, output, bias", found, "do not fit", remedy)
        for name in ("weight", "output", "bias"):
            object.__setattr__(self, name, getattr(self, name).detach().double())

    @classmethod
    def make(
        cls,
        seed: int,
        *,
        filters: int,
        patches: int,
        patch: int,
        weight_scale: float = 1.0,
        output_scale: float = 1.0,
    ) -> "PatchNet":
        """A network as at initialisation: Gaussian weights, no biases."""
        keys = Keys.of(seed, range(filters))
        weight = weight_scale * keys.fold("weight").normal((patch,))
        output = output_scale * keys.fold("output").normal((patches,))
        return cls(weight, output, torch.zeros(filters))

    def value(self, x: Tensor) -> Tensor:
        """f(x), (B,)."""
        return (self._patches(x).relu() * self.output).sum(dim=(1, 2))

    def gradient(self, x: Tensor) -> Tensor:
        """The gradient of f, (B, k p), by the formula."""
        active = self.active(x).double()
        return torch.einsum("bik,ik,ip->bkp", active, self.output, self.weight).flatten(1)

    def active(self, x: Tensor) -> Tensor:
        """1[<w_i, z_j> + b_i >= 0], (B, m, k) bool."""
        return self._patches(x) >= 0

    def alignment(self, x: Tensor, noise: Tensor) -> Tensor:
        """The cosine of the gradients at x and x + noise, (B,)."""
        return nn.functional.cosine_similarity(self.gradient(x), self.gradient(x + noise), dim=1)

    def module(self) -> nn.Module:
        """An `nn.Module` from (B, k p) to the logits (0, f(x)); the cross-entropy's gradient is a
        positive or a negative multiple of that of f, by the label."""
        return _Logits(self)

    def _patches(self, x: Tensor) -> Tensor:
        """<w_i, z_j> + b_i, (B, m, k)."""
        patches = x.double().view(len(x), self.output.shape[1], self.weight.shape[1])
        return torch.einsum("bkp,ip->bik", patches, self.weight) + self.bias[:, None]


def single_filter_alignment(output: Tensor, active: Tensor, noisy: Tensor) -> Tensor:
    """The cosine for one filter (Eq 2.6), (B,) float64; it does not depend on the filter's weights.

    Args:
        output: (k,) the weights u of the patches.
        active: (B, k) bool, the patches that are active at x.
        noisy: (B, k) bool, those at x + eta.

    Guarantee: NaN where no patch is active at either input. With equal u^2 and the active patches
        among the noisy ones it is sqrt(|A| / |A'|).

    Example:
        >>> few, many = torch.tensor([[True, False]]), torch.tensor([[True, True]])
        >>> single_filter_alignment(torch.tensor([1.0, -1.0]), few, many)
        tensor([0.7071], dtype=torch.float64)
    """
    squares = output.double().square()
    both, one, other = ((each * squares).sum(dim=1) for each in (active & noisy, active, noisy))
    return both / (one * other).sqrt()


class _Logits(nn.Module):
    """The logits (0, f(x)) of a patch network."""

    def __init__(self, net: PatchNet):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """x (B, k p) -> (B, 2)."""
        value = self.net.value(x)
        return torch.stack([torch.zeros_like(value), value], dim=1)
