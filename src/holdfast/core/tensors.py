"""Per-example arithmetic: norms over an example's own features, broadcasting."""

import math
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import InputError


def per_example(values: Any, like: Tensor) -> Tensor:
    """A number, a (B,) or a (B, *E) tensor, shaped so that it broadcasts over `like` (B, *E).

    A tensor of shape E (one value per feature, shared by all examples) is accepted as well. A (B,)
    tensor always means one value per example.
    """
    values = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    if values.ndim == 1 and values.shape[0] == like.shape[0]:
        return values.view(-1, *(1,) * (like.ndim - 1))
    if values.shape == like.shape[1:]:
        return values.unsqueeze(0)
    return values


def norm(x: Tensor, p: float) -> Tensor:
    """The p-norm of each example, (B,); x (B, *E), p in {0, 1, 2, inf}."""
    flat = x.reshape(x.shape[0], -1)
    if p == math.inf:
        return flat.abs().amax(dim=1)
    if p == 0:
        return (flat != 0).sum(dim=1).to(x.dtype)
    return torch.linalg.vector_norm(flat, ord=p, dim=1)


def dual_exponent(p: float) -> float:
    """The exponent q with 1/p + 1/q = 1, for p from 1 to infinity."""
    if not p >= 1:
        raise InputError("p", p, "has no dual exponent", "give 1, 2 or inf")
    if p == 1:
        return math.inf
    return 1.0 if p == math.inf else p / (p - 1)
