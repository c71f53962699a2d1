"""Keyed random numbers: a draw is a function of (seed, example, path, step), never of a generator's
state.

An example's key is a 64-bit state, hashed from the seed and the example's index; `fold` hashes a
further token into it (the name of a method, a restart, an epoch) and gives an independent stream. A
draw hashes (state, step, position) with the finaliser of SplitMix64 in wrapping 64-bit integers,
which are the same on every device, so integers, signs, uniforms and permutations have the same bits
everywhere. Normals go through the inverse normal distribution function in float64 and agree to 4
ulp of float32. No global generator is read or set.

Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators (SplitMix64's
    finaliser), used
counter-based as in Salmon et al. 2011.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB


@dataclass(frozen=True, eq=False)
class Keys:
    """The keys of B examples.

    Build them with `Keys.of(seed, index)` (stable indices of a data set) or `Keys.by_content(seed,
    x)` (a hash of each example's own bytes). `keys[mask]` selects rows, so keys follow their
    examples through compaction.

    Guarantee: a draw depends on the seed, the example's index (or bytes), the folded path, the step
        and the position
    within the example; not on the batch, the device or earlier draws. Independence is that of a
    64-bit hash.

    Example:
        >>> keys = Keys.of(seed=0, index=[3, 7])
        >>> both = keys.fold("start").uniform((2,))
        >>> alone = keys[1:].fold("start").uniform((2,))
        >>> bool((both[1:] == alone).all())
        True
    """

    state: Tensor

    @classmethod
    def of(
        cls, seed: int, index: Tensor | Sequence[int], device: torch.device | str | None = None
    ) -> "Keys":
        """Keys of the examples with these indices, (B,)."""
        index = torch.as_tensor(index, dtype=torch.int64, device=device)
        return cls(_mix(_mix(index * _signed(_GOLDEN) + _signed(_token(seed)))))

    @classmethod
    def by_content(cls, seed: int, x: Tensor) -> "Keys":
        """Keys of examples without an index: a hash of each example's own values, cast to float32;
        x (B, *E)."""
        words = (
            x.detach()
            .to(torch.float32)
            .reshape(x.shape[0], -1)
            .contiguous()
            .view(torch.int32)
            .to(torch.int64)
        )
        places = torch.arange(1, words.shape[1] + 1, device=x.device, dtype=torch.int64) * _signed(
            _GOLDEN
        )
        return cls(_mix(_mix(_mix(words + places).sum(dim=1) + _signed(_token(seed)))))

    def __len__(self) -> int:
        return len(self.state)

    def __getitem__(self, rows: Tensor | slice) -> "Keys":
        return Keys(self.state[rows])

    def to(self, device: torch.device | str) -> "Keys":
        """The same keys on another device."""
        return Keys(self.state.to(device))

    def fold(self, token: str | int | Tensor) -> "Keys":
        """Independent keys for a part of the work: a name, a number, or one number per example
        (B,). A number and a tensor that holds it give different keys."""
        if isinstance(token, Tensor):
            word = _mix(token.to(self.state) * _signed(_GOLDEN))
        else:
            word = torch.tensor(_signed(_token(token)), device=self.state.device)
        return Keys(_mix(self.state + word))

    def bits(self, count: int, step: int | Tensor = 0) -> Tensor:
        """`count` independent 64-bit words per example, (B, count) int64; `step` a number or one
        per example (B,)."""
        at_step = self.state + (torch.as_tensor(step, device=self.state.device) + 1) * _signed(
            _MIX2
        )
        places = torch.arange(1, count + 1, device=self.state.device, dtype=torch.int64) * _signed(
            _GOLDEN
        )
        return _mix(_mix(at_step)[:, None] + places)

    def uniform(
        self, shape: Sequence[int], step: int | Tensor = 0, low: float = 0.0, high: float = 1.0
    ) -> Tensor:
        """Uniform on [low, high], float32, (B, *shape): 24 random bits each."""
        words = (self._halves(math.prod(shape), step) >> 8).bitwise_and_(0xFFFFFF)
        unit = words.to(torch.float32).mul_(2.0**-24)
        if (low, high) != (0.0, 1.0):
            unit = unit.mul_(high - low).add_(low)
        return unit.view(len(self), *shape)

    def sign(self, shape: Sequence[int], step: int | Tensor = 0) -> Tensor:
        """-1 or +1 with equal probability, float32, (B, *shape)."""
        return (
            (self._halves(math.prod(shape), step) >> 31)
            .to(torch.float32)
            .mul_(2.0)
            .add_(1.0)
            .view(len(self), *shape)
        )

    def normal(self, shape: Sequence[int], step: int | Tensor = 0) -> Tensor:
        """Standard normal, float32, (B, *shape)."""
        words = self.bits(math.prod(shape), step)
        unit = ((words >> 12 & (1 << 52) - 1).to(torch.float64) + 0.5) * 2.0**-52
        return torch.special.ndtri(unit).to(torch.float32).view(len(self), *shape)

    def integers(self, high: int | Tensor, shape: Sequence[int], step: int | Tensor = 0) -> Tensor:
        """Integers from 0 to high - 1, int64, (B, *shape); `high` a number up to 2^31 or a tensor
        that broadcasts."""
        words = (self.bits(math.prod(shape), step) >> 32 & 0xFFFFFFFF).view(len(self), *shape)
        return words * torch.as_tensor(high, device=words.device) >> 32

    def permutation(self, size: int, step: int | Tensor = 0) -> Tensor:
        """A permutation of 0 .. size - 1 for each example, int64, (B, size)."""
        return self.bits(size, step).argsort(dim=1, stable=True)

    def _halves(self, count: int, step: int | Tensor) -> Tensor:
        """32-bit words as int32, (B, count): both halves of each 64-bit word."""
        return self.bits((count + 1) // 2, step).view(torch.int32)[:, :count]


def permutation(seed: int, *path: str | int, size: int) -> Tensor:
    """One keyed permutation of 0 .. size - 1, for example the order of an epoch; (size,) int64 on
    the CPU."""
    keys = Keys.of(seed, [0])
    for token in path:
        keys = keys.fold(token)
    return keys.permutation(size)[0]


def _mix(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64 on wrapping int64 words, which it leaves as they are; in two
    buffers, since new memory costs more than the arithmetic."""
    z = (z >> 30).bitwise_and_((1 << 34) - 1).bitwise_xor_(z).mul_(_signed(_MIX1))
    high = (z >> 27).bitwise_and_((1 << 37) - 1)
    z.bitwise_xor_(high).mul_(_signed(_MIX2))
    torch.bitwise_right_shift(z, 31, out=high)
    return z.bitwise_xor_(high.bitwise_and_((1 << 33) - 1))


def _token(token: str | int) -> int:
    """64 bits for a name or a number."""
    kind = "str" if isinstance(token, str) else "int"
    text = f"{kind}:{token}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _signed(word: int) -> int:
    """The int64 with the same bits as an unsigned 64-bit word."""
    return word - (1 << 64) if word >= 1 << 63 else word
