from fractions import Fraction
from functools import cache

import pytest
import torch
from torch import nn

from certify.nets import graph, inputs, samples
from certify.substitution.test_backward import NETS, known_of
from holdfast.certify import CROWN, Dual, capture, margin_rows
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.substitution.backward import both, lower
from holdfast.certify.substitution.rows import Dense
from holdfast.threats import Linf


@cache
def layers() -> Graph:
    model = nn.Sequential(
        nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)
    ).double()
    return capture(model, (6,))


def stacked(seed: int, scale: float, *, inner: float = 1.0, share: float = 1e-6) -> Graph:
    """Two hidden layers, the first always on, the second's signs open to intervals.

    Weights of the second layer cancel to `share` of their size, and `scale` and `inner` move the
    exponents of values.
    """
    captured = layers()
    model = captured.constants.model
    with torch.no_grad():
        for index, layer in enumerate(model[::2]):
            shape = tuple(layer.weight.shape)
            layer.weight.copy_(inputs(1, shape, seed=3 * seed + index)[0] - 0.5)
            layer.bias.copy_(inputs(1, shape[:1], seed=50 + 3 * seed + index)[0] - 0.5)
        model[0].bias.add_(9.0)
        cancelled = model[2].weight[:, ::2] * (share - 1)
        model[0].weight[1::2] = model[0].weight[::2]
        model[2].weight[:, 1::2] = cancelled
        model[2].bias.zero_()
        model[2].bias.sub_(model[2](model[0](inputs(1, (6,), seed=1)))[0])
        model[0].weight.mul_(scale)
        model[0].bias.mul_(scale)
        model[2].weight.mul_(inner)
        model[2].bias.mul_(scale * inner)
    return captured


def fractions(table: torch.Tensor) -> list:
    return [fractions(row) if row.ndim else Fraction(row.item()) for row in table]


def exact_ends(model, low, high) -> list[tuple[Fraction, Fraction]]:
    """The true range of each unit of the second layer over a box, where the first is on."""
    (first, start), (second, offset) = (
        (fractions(model[i].weight), fractions(model[i].bias)) for i in (0, 2)
    )
    low, high, found = fractions(low), fractions(high), []
    for weights, bias in zip(second, offset, strict=True):
        form = [sum(w * row[k] for w, row in zip(weights, first, strict=True)) for k in range(6)]
        total = bias + sum(w * b for w, b in zip(weights, start, strict=True))
        ends = [
            (min(c * a, c * b), max(c * a, c * b)) for c, a, b in zip(form, low, high, strict=True)
        ]
        found.append((total + sum(a for a, _ in ends), total + sum(b for _, b in ends)))
    return found


SCALES = [(1.0, 1.0), (1e6, 1.0), (1e-6, 1.0), (1e6, 1e-12), (1e-12, 1e-12), (1e-20, 1e-18)]


@pytest.mark.parametrize(("scale", "inner"), SCALES)
@pytest.mark.parametrize("share", [1.0, 1e-3, 1e-6])
def test_bounds_in_float32_contain_the_exact_range(scale, inner, share):
    x, threat = inputs(3, (6,)), Linf(0.3, box=None)
    for seed in range(2):
        captured = stacked(seed, scale, inner=inner, share=share)
        known = known_of(captured, x, threat, inner="parallel")
        assert known.centred.fixed.boxes[0].lower.dtype == torch.float32
        assert known.rows[0] > 0
        box, start = known.boxes[3], known.boxes[0]
        for image in range(3):
            exact = exact_ends(captured.constants.model, start.lower[image], start.upper[image])
            for unit, (least, most) in enumerate(exact):
                assert Fraction(box.lower[image, unit].item()) <= least
                assert Fraction(box.upper[image, unit].item()) >= most
                excess = Fraction(box.upper[image, unit].item()) - most
                if least < 0 < most:
                    assert excess <= (most - least) / 50 + Fraction(1e-30)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("method", [CROWN, Dual])
def test_both_ways_to_measure_agree(name, method):
    captured, shape = NETS[name]()
    x = inputs(3, shape)
    known = known_of(captured, x, Linf(0.02), plain=True, inner=method._inner)
    rows, image = inputs(6, (5,)) - 0.5, torch.tensor([0, 0, 1, 1, 2, 2])
    place = len(captured.nodes) - 1
    for fixed in (True, False):
        relaxed = known.fixed if fixed else known.adaptive
        with torch.no_grad():
            wanted = lower(relaxed, Dense(rows), image, place)
            found = known.centred.lower(rows, image, fixed=fixed)
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
def test_values_lie_in_boxes_measured_from_the_reference(name):
    x = inputs(3)
    known = known_of(graph(name), x, Linf(0.05))
    centred = known.centred
    points = samples(*Linf(0.05).hull(x), 100).flatten(0, 1)
    with torch.no_grad():
        walked = graph(name).walk(points, lambda n, each, v: n.op.forward(each, v), like=points)
    for value, reference, box in zip(walked, centred.reference, centred.boxes, strict=True):
        moved = value.view(100, 3, *value.shape[1:]) - reference
        assert (moved >= box.lower.double() - 1e-12).all()
        assert (moved <= box.upper.double() + 1e-12).all()


@pytest.mark.parametrize("name", ["pooled", "residual", "functional"])
def test_lines_measured_from_the_reference_enclose_the_operation(name):
    x = inputs(3)
    known = known_of(graph(name), x, Linf(0.05))
    centred = known.centred
    for relaxed in (centred.fixed, centred.adapt()):
        for place, lines in relaxed.lines.items():
            node = graph(name).nodes[place]
            read = node.inputs[0]
            box = centred.boxes[read]
            for share in (0.0, 0.3, 1.0):
                move = torch.lerp(box.lower.double(), box.upper.double(), share)
                z = centred.reference[read] + move
                if not bool(
                    ((z >= known.boxes[read].lower) & (z <= known.boxes[read].upper)).all()
                ):
                    z = z.clamp(*known.boxes[read])
                    move = z - centred.reference[read]
                value = node.op.forward([z], relaxed.values) - centred.reference[place]
                low, below, high, above = (each.double() for each in lines)
                assert (low * move + below <= value + 1e-14).all()
                assert (high * move + above >= value - 1e-14).all()


def test_float32_is_repeated_where_rounding_takes_much():
    """One unit of width 1e-7 beside values of 1e4: float32 alone would leave it open."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1e4, 0.0], [1e4, 1e-3]]))
        model[0].bias.fill_(2e4)
        model[2].weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, 0.0]]))
        model[2].bias.copy_(torch.tensor([5e-3, 0.0]))
        model[4].weight.copy_(torch.eye(2))
        model[4].bias.zero_()
    x, spec = torch.tensor([[0.5, 0.5]], dtype=torch.float64), torch.tensor([[1.0, 0.0]])
    known = known_of(capture(model, (2,)), x, Linf(0.1), inner="parallel")
    assert known.boxes[3].lower[0, 0] > 5e-3
    assert len(known.rows) > 1
    found = Dual().bound(model, x, Linf(0.1), spec).lower.item()
    assert 5e-3 < found <= 5e-3 + 4e-4 * 1.0001


def test_a_specification_that_float32_does_not_hold_is_paid_for():
    x, threat = inputs(3), Linf(0.01)
    rows = margin_rows(torch.tensor([0, 4, 2]), 5).double() * (1 + 2.0**-30)
    found = CROWN().bound(graph("conv"), x, threat, 1e3 * rows).lower
    wanted = CROWN(schedule="plain").bound(graph("conv"), x, threat, 1e3 * rows).lower
    torch.testing.assert_close(found[wanted <= 0], wanted[wanted <= 0], atol=1e-2, rtol=0)
    points = samples(*threat.hull(x), 200)
    with torch.no_grad():
        logits = graph("conv").forward(points.flatten(0, 1)).view(200, 3, 5)
    assert (torch.einsum("brk,sbk->sbr", 1e3 * rows, logits) >= found).all()


def test_negated_rows_come_with_the_rows():
    captured, shape = NETS["residual"]()
    known = known_of(captured, inputs(3, shape), Linf(0.03))
    relaxed = known.centred.fixed
    node = next(n for n in captured.nodes if n.place in known.fixed.lines and n.place > 6)
    unit, image = torch.arange(4), torch.tensor([0, 1, 1, 2])
    rows = relaxed.units(unit, node.inputs[0])
    least, most = both(relaxed, rows, image, node.inputs[0])
    again = -lower(relaxed, rows.negated(), image, node.inputs[0])
    torch.testing.assert_close(most, again, atol=1e-5, rtol=0)
    assert (least < most).all()
