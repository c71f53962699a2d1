"""Input gradients through a narrow first convolution on a CPU, at a fraction of their cost.

The gradient of a convolution with respect to an input of few channels, such as an image, is

    fold(W^T g),   W (O, C kh kw),  g (O, positions)

a matrix product and the sum of overlapping patches. Vendor kernels fill channels up to the width of
a vector register, 16 as a rule, and so compute many times what is asked for; the backend's plain
kernel does not, and runs up to four times as fast. Backpropagation stops at the convolution's
output and goes on from its input. Which kernel runs depends on the network and on shapes alone,
never on time or load; both agree up to rounding.
"""

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge

_FEW = 4
_PLAIN = getattr(getattr(torch.ops.aten, "_slow_conv2d_backward", None), "output_mask", None)


def input_gradient(value: Tensor, x: Tensor, *, retain: bool = False) -> Tensor:
    """The gradient of a number with respect to x (B, *E), zero where it does not depend on it.

    Args:
        value: the number, with a graph.
        x: a leaf of that graph.
        retain: whether the graph is kept for a further gradient.

    Cost: that of `torch.autograd.grad`, less where all ways to x lead through one convolution of at
        most 4 input channels, in float32 on a CPU.
    """
    served = x.device.type == "cpu" and x.dtype == torch.float32
    narrow = _narrow(value, x) if served else None
    if narrow is None or _PLAIN is None:
        return _grad(value, x, retain)
    above = _grad(value, GradientEdge(narrow, 0), retain)
    image, weight = narrow._saved_input, narrow._saved_weight  # type: ignore[attr-defined]
    stride, padding = narrow._saved_stride, narrow._saved_padding  # type: ignore[attr-defined]
    mask = [True, False, False]
    with torch.no_grad():
        below = _PLAIN(above, image, weight, weight.shape[2:], stride, padding, mask)[0]
    return below if _copies(narrow, x) else _grad((image * below).sum(), x, retain)


def _grad(value: Tensor, x: Tensor | GradientEdge, retain: bool) -> Tensor:
    """The gradient by autograd."""
    return torch.autograd.grad(value, x, retain_graph=retain, materialize_grads=True)[0]


def _copies(node: Node, x: Tensor) -> bool:
    """Whether a node's first input is x, or a copy of it."""
    below = node.next_functions[0][0]
    while below is not None and below.name() == "CloneBackward0":
        below = below.next_functions[0][0]
    return below is get_gradient_edge(x).node


def _narrow(value: Tensor, x: Tensor) -> Node | None:
    """The convolution through which all ways from value to x lead, if it is one and narrow."""
    end = get_gradient_edge(x).node
    seen: set[Node] = set()
    found: list[Node] = []
    ahead = [value.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if _is_narrow(node):
            found.append(node)
        else:
            ahead.extend(below for below, _ in node.next_functions)
    return found[0] if len(found) == 1 and end not in seen else None


def _is_narrow(node: Node) -> bool:
    """Whether this is the backward pass of a plain convolution of few input channels."""
    if node.name() != "ConvolutionBackward0" or node.next_functions[0][0] is None:
        return False
    weight, dilation = node._saved_weight, node._saved_dilation  # type: ignore[attr-defined]
    plain = node._saved_groups == 1 and not node._saved_transposed  # type: ignore[attr-defined]
    image = weight.ndim == 4 and weight.shape[1] <= _FEW and weight.dtype == torch.float32
    return plain and image and set(dilation) == {1}
