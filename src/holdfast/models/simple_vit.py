"""SimpleViT: a small vision transformer with fixed positions and average pooling.

Patches are embedded by one linear layer and get fixed two-dimensional sine-cosine positions; blocks
are pre-normalised attention and MLP, each beside the identity; tokens are averaged, normalised, and
mapped to logits. Attention has no biases.

Source: Beyer, Zhai, Kolesnikov 2022, arXiv:2205.01580; in the dimensions of Andriushchenko et al.
2023, arXiv:2302.07011 (Andriushchenko 2024, sec 7.6).
"""

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count
from holdfast.models.options import Classes, ImageShape, constructor


class Attention(nn.Module):
    """Multi-head self-attention on normalised tokens."""

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.scale = heads, head_dim**-0.5
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, N, dim) -> (B, N, dim)."""
        split = torch.unflatten(self.to_qkv(self.norm(tokens)), 2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-1, -2) * self.scale).softmax(dim=-1)
        return self.to_out((weights @ value).transpose(1, 2).flatten(2))


class SimpleViT(nn.Module):
    """See `simple_vit`."""

    positions: Tensor

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        head_dim: int,
        mlp_dim: int,
    ):
        super().__init__()
        channels, height, width = input_shape
        self.patch = patch
        self.embed = nn.Linear(channels * patch * patch, dim)
        positions = sine_positions(height // patch, width // patch, dim)
        self.register_buffer("positions", positions, persistent=False)
        self.attentions = nn.ModuleList(Attention(dim, heads, head_dim) for _ in range(depth))
        self.mlps = nn.ModuleList(
            nn.Sequential(
                *(nn.LayerNorm(dim), nn.Linear(dim, mlp_dim), nn.GELU(), nn.Linear(mlp_dim, dim))
            )
            for _ in range(depth)
        )
        self.norm, self.linear = nn.LayerNorm(dim), nn.Linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, K)."""
        tokens = self.embed(patches(x, self.patch)) + self.positions
        for attention, mlp in zip(self.attentions, self.mlps, strict=True):
            tokens = tokens + attention(tokens)
            tokens = tokens + mlp(tokens)
        return self.linear(self.norm(tokens.mean(dim=1)))


@constructor
def simple_vit(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    patch: Count = 4,
    dim: Count = 512,
    depth: Count = 6,
    heads: Count = 16,
    head_dim: Count = 64,
    mlp_dim: Count = 1024,
) -> SimpleViT:
    """SimpleViT.

    Args:
        patch: the side of a patch in pixels; it divides the sides of the image.
        dim: numbers in a token, a multiple of 4.
        depth: blocks.
        heads: attention heads, of `head_dim` numbers each.
        mlp_dim: hidden units of the MLP of a block.

    Returns:
        18,927,114 parameters at the defaults.

    Raises:
        InputError: patches that do not tile the image, or `dim` no multiple of 4 above 4.
    """
    if input_shape[1] % patch or input_shape[2] % patch:
        raise InputError("patch", patch, f"does not divide {input_shape[1:]}", "give a divisor")
    if dim % 4 or dim < 8:
        raise InputError("dim", dim, "is not a multiple of 4 from 8", "give 8, 12, 16, ...")
    return SimpleViT(
        input_shape=input_shape,
        classes=classes,
        patch=patch,
        dim=dim,
        depth=depth,
        heads=heads,
        head_dim=head_dim,
        mlp_dim=mlp_dim,
    )


def patches(x: Tensor, side: int) -> Tensor:
    """Images (B, C, H, W) as rows of patches (B, H/side * W/side, side * side * C)."""
    cut = torch.unflatten(torch.unflatten(x, 3, (-1, side)), 2, (-1, side))
    return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def sine_positions(rows: int, columns: int, dim: int, temperature: float = 10_000.0) -> Tensor:
    """Sine and cosine codes of the places of a grid: (rows * columns, dim)."""
    count = dim // 4
    frequency = temperature ** -(torch.arange(count) / (count - 1))
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    across, down = (place.flatten()[:, None] * frequency for place in (column, row))
    return torch.cat([across.sin(), across.cos(), down.sin(), down.cos()], dim=1)
