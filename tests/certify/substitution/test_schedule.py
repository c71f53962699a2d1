import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from certify.nets import graph, inputs, samples
from certify.substitution.test_backward import NETS, known_of
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.graphs.graph import capture
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.substitution.regions import around
from holdfast.threats import L2, Linf


@pytest.mark.parametrize("inner", ["interval", "parallel", "adaptive"])
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_boxes_contain_what_nodes_take_on(name, inner, plain):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    known = known_of(captured, x, Linf(0.03), inner=inner, plain=plain)
    points = samples(*Linf(0.03).hull(x), 100).flatten(0, 1)
    with torch.no_grad():
        values = captured.walk(points, lambda n, each, v: n.op.forward(each, v), like=points)
    for value, box in zip(values, known.boxes, strict=True):
        value = value.view(100, 3, *value.shape[1:])
        assert (value >= box.lower - 1e-12).all()
        assert (value <= box.upper + 1e-12).all()


@pytest.mark.parametrize("name", NETS)
def test_each_step_narrows_the_boxes(name):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    plans = [
        known_of(captured, x, Linf(0.03), inner=i) for i in ("interval", "parallel", "adaptive")
    ]
    alone = boxes(captured, around(Linf(0.03), x, rigorous=True).box, rigorous=True)
    for box, other in zip(plans[0].boxes, alone, strict=True):
        torch.testing.assert_close(box.lower, other.lower)
    last = [node.place for node in captured.nodes if isinstance(node.op, ReLU)][-1]
    wide, narrow, narrowest = (
        (known.boxes[last].upper - known.boxes[last].lower).mean().item() for known in plans
    )
    assert narrowest < narrow < 0.9 * wide


def test_candidates_are_the_open_units_of_each_image():
    captured, shape = NETS["strided"]()
    x = inputs(3, shape)
    known = known_of(captured, x, Linf(0.03), inner="parallel")
    interval = boxes(captured, known.boxes[0], rigorous=True)
    second = [node for node in captured.nodes if isinstance(node.op, ReLU)][1]
    box = interval[second.inputs[0]]
    assert known.rows[0] == int(((box.lower < 0) & (box.upper > 0)).sum())
    assert 0 < known.rows[0] < box.lower.numel()
    settled = (box.lower >= 0) | (box.upper <= 0)
    after = known.boxes[second.inputs[0]]
    torch.testing.assert_close(after.lower[settled], box.lower[settled], atol=1e-4, rtol=0)


def test_the_first_layer_needs_no_rows_on_a_box_and_needs_them_on_a_ball():
    captured, shape = NETS["strided"]()
    x = inputs(2, shape)
    for threat, narrower in ((Linf(0.02), False), (L2(0.2), True)):
        known = known_of(captured, x, threat, inner="parallel")
        alone = boxes(captured, known.boxes[0], rigorous=True)
        widths = [(box.upper - box.lower).sum().item() for box in (known.boxes[1], alone[1])]
        assert (widths[0] < widths[1] * (1 - 1e-3)) == narrower


@pytest.mark.parametrize(
    "threat", [Linf(0.03), pytest.param(L2(0.05), marks=pytest.mark.slow)], ids=str
)
def test_pieces_do_not_matter(threat):
    x, spec = inputs(3), torch.eye(5)
    whole = CROWN(memory=2**28).bound(graph("residual"), x, threat, spec).lower
    parts = CROWN(memory=2**16).bound(graph("residual"), x, threat, spec).lower
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor):
                self.most = max(self.most, each.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("mode", [pytest.param("fast", marks=pytest.mark.slow), "rigorous"])
def test_the_largest_tensor_follows_the_memory(mode):
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(16, 2, 3, 1, 1), nn.ReLU(), nn.Flatten(), nn.Linear(364, 5),
    )  # fmt: skip
    with torch.no_grad():
        for index, each in enumerate(model.parameters()):
            each.copy_(inputs(1, tuple(each.shape), seed=index)[0] - 0.5)
    captured, x = capture(model, (3, 14, 13)), inputs(2, (3, 14, 13)).float()
    found = {}
    for memory in (2**18, 2**21):
        with Largest() as largest:
            bounds = CROWN(mode=mode, memory=memory).bound(captured, x, Linf(0.02), torch.eye(5))
        assert largest.most <= memory
        found[memory] = bounds.lower, largest.most
    (small, less), (large, more) = found.values()
    torch.testing.assert_close(small, large, atol=1e-3, rtol=1e-3)
    assert more > 2 * less


def test_a_broken_weight_stays_visible():
    captured, shape = NETS["strided"]()
    model = captured.constants.model
    with torch.no_grad():
        model[2].weight[0, 0, 0, 0] = torch.nan
    known = known_of(captured, inputs(1, shape), Linf(0.01))
    assert known.boxes[-1].lower.isnan().all()
