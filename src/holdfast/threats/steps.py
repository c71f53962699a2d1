"""Steepest ascent steps: the step that maximises <grad, step> over ||step||_p <= length.

Source: Wong 2020, sec 2.1.2 and 5.3.3. Symbols: g -> grad, a -> length. A `scale` (the radius per
feature) turns the norm into ||step / scale||_p.
"""

from torch import Tensor

Length = float | Tensor


def linf(grad: Tensor, length: Length, scale: Tensor | None = None) -> Tensor:
    """a sign(g), zero where the gradient is zero; (B, *E)."""
    step = grad.sign().mul_(length)
    return step if scale is None else step.mul_(scale)


def l2(grad: Tensor, length: Length, scale: Tensor | None = None) -> Tensor:
    """a g / ||g||_2, zero where the gradient is zero; (B, *E).

    The gradient is divided by its largest entry first: squares of the gradients of a confident
    network underflow in float32.
    """
    ascent = grad if scale is None else grad * scale
    axes = tuple(range(1, grad.ndim))
    largest = ascent.abs().amax(dim=axes, keepdim=True)
    ascent = ascent / largest.masked_fill(largest == 0, 1.0)
    norm = ascent.square().sum(dim=axes, keepdim=True).sqrt_()
    step = ascent.div_(norm.masked_fill_(norm == 0, 1.0)).mul_(length)
    return step if scale is None else step.mul_(scale)


def l1(
    grad: Tensor,
    length: Length,
    scale: Tensor | None = None,
    *,
    count: int | Tensor = 1,
    eligible: Tensor | None = None,
) -> Tensor:
    """The length spread evenly over the `count` coordinates of largest gradient; (B, *E).

    With one coordinate this is the steepest step a sign(g_i) e_i, i = argmax |g_i|. Several
    coordinates are the sparse step of the l1 attack of Maini et al. 2020 (Wong 2020, sec 5.3.4);
    its total length is `length`, whatever the count. Ties are broken by place, so no more than
    `count` coordinates move.

    Args:
        count: coordinates that move, a number or one per example (B,).
        eligible: bool (B, *E), the coordinates that may move; None means all. Where fewer than
            `count` are eligible with a gradient, those move, each by length / count.
    """
    weight = (grad if scale is None else grad * scale).flatten(1)
    size = weight.abs()
    if eligible is not None:
        size = size.masked_fill(~eligible.flatten(1), 0.0)
    if isinstance(count, int) and count == 1:
        place = size.argmax(dim=1, keepdim=True)
        chosen = size.new_zeros(size.shape).scatter_(1, place, 1.0)
        share: Length = length
    else:
        chosen = _largest(size, count)
        share = length / _column(count, grad)
    step = (weight.sign() * chosen * (size > 0)).view_as(grad).mul_(share)
    return step if scale is None else step.mul_(scale)


def _largest(size: Tensor, count: int | Tensor) -> Tensor:
    """1 at the `count` largest of each row, 0 elsewhere; (B, n)."""
    order = size.argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    limit = count[:, None] if isinstance(count, Tensor) else count
    return (rank < limit).to(size)


def _column(count: int | Tensor, like: Tensor) -> Length:
    if not isinstance(count, Tensor):
        return float(count)
    return count.to(like).view(-1, *(1,) * (like.ndim - 1))
