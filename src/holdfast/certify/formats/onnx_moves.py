"""Rules for the ONNX operators that move, select, repeat and average numbers.

What they need in order to be built (axes, shapes, indices) must be constants of the file.

Source: the ONNX operator specification, operator sets 7 to 21.
Departures: `Resize` and `Upsample` by whole factors to the nearest number only; slices do not step
    backwards.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from holdfast.certify.formats.onnx_values import OnnxCall, Value, settled, shaped

_MOST_PIECES = 16
Reduction = Callable[..., Tensor]


def flatten(call: OnnxCall) -> Value:
    """Rule of Flatten."""
    shape, axis = call.x.shape, int(call.attribute("axis", 1))
    axis += len(shape) if axis < 0 else 0
    return shaped(call.x.tensor, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def reshape(call: OnnxCall) -> Value:
    """Rule of Reshape."""
    wanted, shape = [int(each) for each in call.numbers("shape", 1) or []], call.x.shape
    if not call.attribute("allowzero", 0):
        if any(size == 0 for size in wanted[len(shape) :]):
            call.refuse(f"shape {tuple(wanted)} copies an axis that {shape} lacks")
        wanted = [shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    if wanted.count(-1) == 1:
        rest = -math.prod(wanted)
        wanted[wanted.index(-1)] = math.prod(shape) // rest if rest else 0
    if math.prod(wanted) != math.prod(shape) or min(wanted, default=0) < 0:
        call.refuse(f"shape {shape} cannot become {tuple(wanted)}")
    return shaped(call.x.tensor, tuple(wanted))


def squeeze(call: OnnxCall) -> Value:
    """Rule of Squeeze."""
    shape, axes = call.x.shape, call.numbers("axes", 1)
    if axes is None:
        axes = [i for i, size in enumerate(shape) if size == 1]
    gone = {call.place(axis, len(shape)) for axis in axes}
    if any(shape[axis] != 1 for axis in gone):
        call.refuse(f"an axis of shape {shape} that it drops is not one")
    return shaped(call.x.tensor, tuple(n for i, n in enumerate(shape) if i not in gone))


def unsqueeze(call: OnnxCall) -> Value:
    """Rule of Unsqueeze."""
    axes, rest = call.numbers("axes", 1) or [], list(call.x.shape)
    rank = len(rest) + len(axes)
    for axis in sorted(call.place(each, rank) for each in axes):
        rest.insert(axis, 1)
    return shaped(call.x.tensor, tuple(rest))


def transpose(call: OnnxCall) -> Value:
    """Rule of Transpose."""
    rank = len(call.x.shape)
    order = [int(each) for each in call.attribute("perm", range(rank)[::-1])]
    if sorted(order) != list(range(rank)):
        call.refuse(f"{order} is no order of {rank} axes")
    if call.x.led and order[0] == 0:
        return settled(call.x.tensor.permute(0, *order[1:]), True)
    return settled(call.x.whole.permute(0, *(each + 1 for each in order)), False)


def reduction(function: Reduction) -> Callable[[OnnxCall], Value]:
    """The rule of a mean or sum over axes."""

    def rule(call: OnnxCall) -> Value:
        axes = call.numbers("axes", 1)
        if not axes:
            if axes is not None and call.attribute("noop_with_empty_axes", 0):
                return call.x
            axes = list(range(len(call.x.shape)))
        keep = bool(call.attribute("keepdims", 1))
        tensor, places, led = _along(call, axes)
        return settled(function(tensor, tuple(places), keep), led)

    return rule


def slices(call: OnnxCall) -> Value:
    """Rule of Slice."""
    starts, ends = call.numbers("starts", 1), call.numbers("ends", 2)
    if starts is None or ends is None:
        call.refuse("it has no starts or ends")
    axes, steps = call.numbers("axes", 3) or range(len(starts)), call.numbers("steps", 4)
    tensor, places, led = _along(call, list(axes))
    for i, place in enumerate(places):
        step = int(steps[i]) if steps else 1
        if step < 1:
            call.refuse("it steps backwards")
        start, end, _ = slice(int(starts[i]), int(ends[i])).indices(tensor.shape[place])
        tensor = _cut(tensor, place, start, max(start, end), step)
    return settled(tensor, led)


def split(call: OnnxCall) -> Value:
    """Rule of one output of Split, the one that the attribute `part` names, of `parts`."""
    axis = int(call.attribute("axis", 0))
    (tensor, (place,), led), part = _along(call, [axis]), int(call.attribute("part", 0))
    size, parts = tensor.shape[place], int(call.attribute("parts", 1))
    sizes = call.numbers("split", 1)
    if sizes is None:
        each = -(-size // int(call.attribute("num_outputs", parts)))
        sizes = [min(each, max(0, size - i * each)) for i in range(parts)]
    if sum(sizes) != size or len(sizes) != parts:
        call.refuse(f"sizes {sizes} do not make {size}")
    start = int(sum(sizes[:part]))
    return settled(_cut(tensor, place, start, start + int(sizes[part]), 1), led)


def concatenate(call: OnnxCall) -> Value:
    """Rule of Concat."""
    values = [each for each in call.inputs if isinstance(each, Value)]
    if len(values) != len(call.inputs):
        call.refuse("a constant is joined with values")
    axis = call.place(call.attribute("axis", 0), len(values[0].shape))
    if axis and all(value.led for value in values):
        return settled(torch.cat([value.tensor for value in values], axis), True)
    return settled(torch.cat([value.whole for value in values], axis + 1), False)


def gather(call: OnnxCall) -> Value:
    """Rule of Gather by constant indices: slices that are joined, or a matrix of zeros and ones."""
    indices = call.known(1, "indices").array
    (tensor, (place,), led) = _along(call, [int(call.attribute("axis", 0))])
    size = tensor.shape[place]
    chosen = [int(each) + size * (int(each) < 0) for each in indices.reshape(-1).tolist()]
    if not chosen or min(chosen) < 0 or max(chosen) >= size:
        call.refuse(f"its indices do not fit an axis of {size}")
    runs = _runs(chosen)
    if len(runs) <= _MOST_PIECES:
        parts = [_cut(tensor, place, start, end, 1) for start, end in runs]
        found = parts[0] if len(parts) == 1 else torch.cat(parts, place)
    else:
        matrix = torch.zeros(len(chosen), size, dtype=tensor.dtype, device=tensor.device)
        matrix[torch.arange(len(chosen)), chosen] = 1.0
        found = F.linear(tensor.transpose(place, -1), matrix).transpose(place, -1)
    shape = (*found.shape[:place], *indices.shape, *found.shape[place + 1 :])
    return settled(found.reshape(shape), led)


def _runs(chosen: Sequence[int]) -> list[tuple[int, int]]:
    """Indices as ranges of neighbours."""
    runs: list[tuple[int, int]] = []
    for each in chosen:
        if runs and runs[-1][1] == each:
            runs[-1] = (runs[-1][0], each + 1)
        else:
            runs.append((each, each + 1))
    return runs


def expand(call: OnnxCall) -> Value:
    """Rule of Expand: the value times ones of its new shape."""
    wanted = [int(each) for each in call.numbers("shape", 1) or []]
    shape = list(np.broadcast_shapes(call.x.shape, tuple(wanted)))
    if shape == list(call.x.shape):
        return call.x
    rank = len(shape) - len(call.x.shape)
    whole = call.x.tensor.reshape(-1, *(1,) * rank, *call.x.shape)
    return settled(whole * torch.ones(shape, dtype=whole.dtype, device=whole.device), False)


def resize(call: OnnxCall) -> Value:
    """Rule of Resize and Upsample, where every number is repeated a whole number of times."""
    shape, mode = call.x.shape, call.attribute("mode", b"nearest")
    factors = [size / old for size, old in zip(_sizes(call), shape, strict=True)]
    whole = [round(each) for each in factors]
    if mode != b"nearest" or min(whole) < 1 or factors != whole:
        call.refuse("only repeating by whole factors is supported")
    tensor = call.x.whole
    for axis, factor in enumerate(whole):
        if factor > 1:
            tensor = _repeated(tensor, axis + 1, factor)
    return settled(tensor, False)


def _sizes(call: OnnxCall) -> list[int]:
    """The sizes that a Resize asks for."""
    shape, last = call.x.shape, len(call.inputs) - 1
    if call.operator == "Resize" and last == 3 and call[3] is not None:
        return [int(each) for each in call.numbers("sizes", 3) or []]
    scales = call.numbers("scales", 2 if call.operator == "Resize" and last >= 2 else 1)
    if scales is None or len(scales) != len(shape):
        return call.refuse("it has neither scales nor sizes for all axes")
    return [math.floor(size * scale + 1e-6) for size, scale in zip(shape, scales, strict=True)]


def _repeated(tensor: Tensor, axis: int, factor: int) -> Tensor:
    """Each number of an axis so many times in a row."""
    apart = tensor.unsqueeze(axis + 1)
    joined = torch.cat([apart] * factor, axis + 1)
    return joined.reshape(*tensor.shape[:axis], -1, *tensor.shape[axis + 1 :])


def depth_to_space(call: OnnxCall) -> Value:
    """Rule of DepthToSpace."""
    shape, size = call.x.shape, int(call.attribute("blocksize", 1))
    if not call.x.led or len(shape) != 4 or shape[1] % (size * size):
        call.refuse(f"shape {shape} has no blocks of {size}")
    channels, height, width = shape[1] // size**2, shape[2], shape[3]
    if call.attribute("mode", b"DCR") == b"CRD":
        parts = call.x.tensor.reshape(-1, channels, size, size, height, width)
        moved = parts.permute(0, 1, 4, 2, 5, 3)
    else:
        parts = call.x.tensor.reshape(-1, size, size, channels, height, width)
        moved = parts.permute(0, 3, 4, 1, 5, 2)
    return Value(moved.reshape(-1, channels, height * size, width * size), True)


def space_to_depth(call: OnnxCall) -> Value:
    """Rule of SpaceToDepth."""
    shape, size = call.x.shape, int(call.attribute("blocksize", 1))
    if not call.x.led or len(shape) != 4 or shape[2] % size or shape[3] % size:
        call.refuse(f"shape {shape} has no blocks of {size}")
    _, channels, height, width = shape
    parts = call.x.tensor.reshape(-1, channels, height // size, size, width // size, size)
    moved = parts.permute(0, 3, 5, 1, 2, 4)
    return Value(moved.reshape(-1, channels * size**2, height // size, width // size), True)


def _cut(tensor: Tensor, place: int, start: int, end: int, step: int) -> Tensor:
    """A slice with fixed ends, as one operation; no operation where it is everything."""
    if (start, end, step) == (0, tensor.shape[place], 1):
        return tensor
    cut: Tensor = torch.ops.aten.slice.Tensor(tensor, place, start, end, step)
    return cut


def _along(call: OnnxCall, axes: Sequence[int]) -> tuple[Tensor, list[int], bool]:
    """The tensor on which these axes of the file can be worked on, its axes, and its layout."""
    places = [call.place(axis, len(call.x.shape)) for axis in axes]
    if call.x.led and 0 not in places:
        return call.x.tensor, places, True
    return call.x.whole, [place + 1 for place in places], False
