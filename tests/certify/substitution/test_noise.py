from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.nets import graph, inputs
from certify.substitution.test_backward import known_of
from holdfast.certify import capture
from holdfast.certify.operators.ops import LinearMap
from holdfast.certify.substitution.noise import moved, noise, terms
from holdfast.threats import L2, Linf


@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_pull_in_low_precision_is_off_by_less(name, plain):
    """Random rows pulled through each linear node, against the same in float64."""
    x = inputs(3)
    known = known_of(graph(name), x, Linf(0.05), plain=plain)
    relaxed = known.centred.fixed
    exact = graph(name).constants.bind(torch.float64, x.device)
    for node in graph(name).nodes[1:]:
        if not isinstance(node.op, LinearMap):
            continue
        shape = graph(name).nodes[node.inputs[0]].shape
        rows = (inputs(3, node.shape, seed=node.place) - 0.5).to(relaxed.boxes[0].lower)
        with torch.no_grad():
            low = node.op.pull(rows, relaxed.values, shape).double()
            high = node.op.pull(rows.double(), exact, shape)
        reach = relaxed.boxes[node.inputs[0]].magnitude.double()
        off = ((low - high).abs() * reach).flatten(1).sum(1)
        rate = noise(relaxed, node)
        length = torch.linalg.vector_norm(rows.double().flatten(1), dim=1)
        assert rate.shape == (3, 2)
        assert (off <= length * rate[:, 0] + (1 + length) * rate[:, 1]).all()
        table = moved(relaxed, node).double()
        assert (off <= (rows.double().abs() * table).flatten(1).sum(1) + rate[:, 1]).all()


def test_terms_around_zero_are_those_of_the_values():
    known = known_of(graph("residual"), inputs(3), L2(0.1))
    relaxed = known.adaptive
    for node in graph("residual").nodes[1:]:
        boxes = [relaxed.boxes[index].magnitude for index in node.inputs]
        found = terms(relaxed, node, boxes)
        assert found.shape == relaxed.boxes[node.place].lower.shape
        assert (found >= relaxed.boxes[node.place].magnitude - 1e-6).all()
    node = next(n for n in graph("residual").nodes if isinstance(n.op, LinearMap) and n.inputs)
    box = relaxed.boxes[node.inputs[0]]
    torch.testing.assert_close(
        terms(relaxed, node, [box.magnitude]), node.op.size(box.magnitude, relaxed.values)
    )


def test_around_the_reference_terms_are_of_the_size_of_widths():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    captured = capture(model.double(), (4,))
    known = known_of(captured, inputs(2, (4,)) + 1e3, Linf(1e-3, box=None))
    node = captured.nodes[1]
    around = moved(known.centred.fixed, node) / 2.0**-24
    values = moved(known.fixed, node) / 2.0**-53
    assert around.max() < 1e-3 * values.max()


def test_other_moves_are_added():
    known = known_of(graph("conv"), inputs(3), Linf(0.02))
    node = graph("conv").nodes[1]
    plain = moved(known.fixed, node)
    shifted = replace(known.fixed, moves={1: torch.full_like(plain, 0.5)})
    torch.testing.assert_close(moved(shifted, node), plain + 0.5)
    assert (noise(shifted, node)[:, 0] > noise(known.fixed, node)[:, 0] + 0.5).all()
