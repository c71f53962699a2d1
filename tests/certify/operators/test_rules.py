"""An operation is one class in one place: every pass over the graph finds all it needs there."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from certify.nets import inputs, samples
from holdfast.certify import CROWN, AlphaCrown, Dual, Interval, capture
from holdfast.certify.bounds.forward import Forward
from holdfast.certify.operators.activations import SShaped
from holdfast.certify.operators.aten import RULES
from holdfast.certify.operators.rules import captured
from holdfast.certify.operators.smooth_lines import Curve
from holdfast.certify.operators.structural import Structural
from holdfast.core.errors import CaptureError
from holdfast.threats import Linf


@pytest.fixture
def registry(monkeypatch):
    """The rules as they are, restored afterwards."""
    for name in ("erf", "flip"):
        monkeypatch.delitem(RULES, name, raising=False)
    before = dict(RULES)
    yield RULES
    RULES.clear()
    RULES.update(before)


def declare():
    """An error function, in one class."""

    @captured("erf")
    @dataclass(frozen=True)
    class Erf(SShaped):
        floor = -1.0
        ceiling = 1.0
        curve = Curve(
            value=torch.erf,
            derivative=lambda z: 2 / math.sqrt(math.pi) * (-z * z).exp(),
            touch=lambda d: (-(d * math.sqrt(math.pi) / 2).log()).clamp(min=0).sqrt(),
            steepest=2 / math.sqrt(math.pi),
            total=0.0,
        )

        def forward(self, inputs, values):
            return inputs[0].erf()

    return Erf


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        with torch.no_grad():
            for index, tensor in enumerate(self.parameters()):
                tensor.copy_(3 * inputs(1, tuple(tensor.shape), seed=index)[0] - 1.5)

    def forward(self, x):
        return self.last(torch.erf(self.first(x)))


METHODS = [Interval(), Dual(), CROWN(schedule="plain"), AlphaCrown(steps=2), Forward()]


def test_one_class_gives_an_operation_all_bounds(registry):
    with pytest.raises(CaptureError, match="erf"):
        capture(Net(), (4,))
    made = declare()
    graph = capture(Net(), (4,))
    assert isinstance(graph.nodes[2].op, made)
    x = inputs(3, (4,))
    points = samples(x - 0.2, x + 0.2, 300)
    with torch.no_grad():
        values = graph.forward(points.flatten(0, 1)).view(300, 3, 3)
    widths = []
    for method in METHODS:
        lower = method.bound(graph, x, Linf(0.2, box=None), torch.eye(3)).lower
        assert (values >= lower).all()
        widths.append((values.amin(0) - lower).mean().item())
    assert max(widths[1:]) < widths[0]


def test_a_movement_is_one_line(registry):
    captured("flip")(lambda call: (Structural(torch.flip, (tuple(call["dims"]),)),))

    class Flipped(nn.Module):
        def forward(self, x):
            return torch.flip(x, (1,)) - x

    graph, x = capture(Flipped(), (3,)), inputs(2, (3,))
    lower = CROWN().bound(graph, x, Linf(0.1, box=None), torch.eye(3)).lower
    wanted = x.flip(1) - x - (0.2 + 2e-6) * torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(lower, wanted, atol=1e-9, rtol=0)


def test_a_later_rule_replaces_an_earlier_one(registry):
    first = declare()
    second = captured("erf")(lambda call: ())
    assert RULES["erf"] is second
    assert first.__name__ == "Erf"
