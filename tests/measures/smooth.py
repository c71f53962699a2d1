"""Losses with known derivatives, that the tests of this room share."""

import torch
from torch import Tensor, nn


class First:
    """The first logit as a loss, so that a model's own value is what is measured."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale

    def __call__(self, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
        return self.scale * logits[:, 0]


class Form(nn.Module):
    """(x'Ax / 2, 0) as two logits."""

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        value = ((x @ self.matrix) * x).sum(dim=1) / 2
        return torch.stack([value, torch.zeros_like(value)], dim=1)


def form(size: int = 5, seed: int = 3) -> Form:
    """A quadratic form with a symmetric matrix, float64."""
    noise = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()
    return Form(noise + noise.T)
