import dataclasses
from itertools import count

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.nets import Function, inputs
from holdfast.certify import capture
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.graphs.comparison import compare
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.affine import Shift
from holdfast.certify.operators.constants import Constant, Constants, Fixed
from holdfast.certify.rounding import Box
from holdfast.core.errors import CaptureError

SINGLE = torch.arange(12.0).view(2, 6) / 7  # float32, held by no module


class Weighted(nn.Module):
    """A function of the input and of a weight in float32."""

    def __init__(self, function):
        super().__init__()
        self.weight, self.function = nn.Parameter(SINGLE - 0.3), function

    def forward(self, x):
        return self.function(x, self.weight)


def _noise(size):
    """A number that no two calls share, that no operation of torch draws."""
    numbers = count()
    return lambda: size * (next(numbers) % 7 - 3)


@pytest.mark.parametrize("size", [1e-2, 2e-4, 1e-6, 1e-9])
@pytest.mark.slow
def test_numbers_drawn_outside_torch_are_refused(size):
    noise = _noise(size)
    with pytest.raises(CaptureError, match=r"two calls|differs") as caught:
        capture(Weighted(lambda x, w: F.linear(x, w) + noise()), (6,))
    assert "\n" not in str(caught.value)


def test_numbers_drawn_outside_torch_are_refused_where_float64_cannot_run():
    noise = _noise(1e-5)
    with pytest.raises(CaptureError, match="two calls of the model differ"):
        capture(Weighted(lambda x, w: F.linear(F.linear(x, w), SINGLE[:, :2]) + noise()), (6,))


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-5, 1e-7])
def test_a_model_that_depends_on_the_dtype_is_refused(size):
    def function(x, w):
        return F.linear(x, w) * (1 + (size if x.dtype == torch.float32 else 0.0))

    with pytest.raises(CaptureError, match=r"differs.*every dtype"):
        capture(Weighted(function), (6,))


@pytest.mark.slow
def test_dependence_on_the_dtype_is_refused_behind_many_layers():
    """The a-priori radius of a deep network is large; it must not excuse a difference."""
    layers = [nn.Linear(16, 16, bias=False) for _ in range(30)]
    with torch.no_grad():
        for index, layer in enumerate(layers):
            layer.weight.copy_(1.2 * (inputs(1, (16, 16), seed=index)[0] - 0.5))
    deep = nn.Sequential(*(each for layer in layers for each in (layer, nn.ReLU())))

    class Branch(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.deep, self.size = deep, size

        def forward(self, x):
            return self.deep(x) * (1 + (self.size if x.dtype == torch.float32 else 0.0))

    graph, x = capture(Branch(0.0), (16,)), inputs(3, (16,))
    box = boxes(graph, Box(x, x), rigorous=True)[-1]
    assert (box.upper - box.lower > 1e-3).any()
    with pytest.raises(CaptureError, match="differs"):
        capture(Branch(1e-4), (16,))


CAPTURED = {
    "sign": lambda x, w: F.linear(x, torch.sign(w - SINGLE + 0.3)),
    "rounded": lambda x, w: F.linear(x, torch.round(w / 0.1) * 0.1),
    "normalised": lambda x, w: F.linear(x, w / w.norm(dim=1, keepdim=True)),
    "half weight": lambda x, w: F.linear(x, w.half().float()),
    "bfloat16 weight": lambda x, w: F.linear(x, w.bfloat16().to(x.dtype)),
    "cast input": lambda x, w: F.linear(x.float(), w),
    "cast on the way": lambda x, w: F.linear(F.linear(x, w).float(), torch.ones(3, 2).to(w)),
    "cast result": lambda x, w: F.linear(x, w).to(torch.float32),
    "single product": lambda x, w: F.linear(x, w) * SINGLE[0, :2],
    "single matrix": lambda x, w: F.linear(F.linear(x, w).relu(), SINGLE[:, :2]),
    "only float32": lambda x, w: F.linear(_checked(x), w),
}


def _checked(x):
    if x.dtype != torch.float32:
        raise ValueError("float32 only")
    return x


@pytest.mark.parametrize("name", CAPTURED)
def test_models_that_fold_or_cast_are_captured(name):
    model = Weighted(CAPTURED[name])
    captured, x = capture(model, (6,)), inputs(3, (6,)).float()
    torch.testing.assert_close(captured.forward(x), model(x), atol=1e-6, rtol=1e-6)


def _shifted(graph, shift):
    """The graph with a sum after its last node."""
    constants = Constants(graph.constants.model, (*graph.constants.sources, Fixed(shift)))
    last, op = graph.nodes[-1], Shift(Constant(len(constants.sources) - 1))
    moved = dataclasses.replace(last, place=last.place + 1, inputs=(last.place,), op=op)
    return Graph((*graph.nodes, moved), constants)


@pytest.mark.parametrize(
    ("name", "shift"),
    [("normalised", 1e-2), ("normalised", 1e-5), ("normalised", 1e-10), ("single matrix", 1e-4)],
)
def test_a_graph_that_is_wrong_is_found(name, shift):
    """In float64 by any shift; as it is, where float64 cannot be had, above its own rounding."""
    model, x = Weighted(CAPTURED[name]), inputs(3, (6,)).float()
    graph = capture(model, (6,))
    compare(_shifted(graph, 0.0), model, x)
    with pytest.raises(CaptureError, match="differs from the model on a batch of 3"):
        compare(_shifted(graph, shift), model, x)


def test_buffers_are_left_alone_and_both_calls_see_the_same():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            return x * 2

    model = Counting()
    capture(model, (6,))
    assert model.calls == 0


def test_a_batch_of_one_that_fails_is_named():
    def function(x):
        if x.shape[0] == 1:
            raise ValueError("two rows at least")
        return x * 2

    with pytest.raises(CaptureError, match=r"fails on a batch of 1: ValueError.*two rows"):
        capture(Function(function), (6,))
