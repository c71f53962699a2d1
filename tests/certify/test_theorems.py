"""Statements of the two theses about bounds, checked on small networks without data.

Sources: Wong 2020, chapter 3; Liu 2022, chapter 3. Soundness and order of the methods are checked
in their own files and in `tests/laws`; here stand the statements that are about several files.
"""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from certify.nets import Ball2, Function, Hull, deep_net, graph, inputs, samples, small_net
from certify.onnx_nets import constant, make_node, model, saved
from holdfast.certify import (
    CROWN,
    AlphaCrown,
    CrownIBP,
    Dual,
    Graph,
    Interval,
    capture,
    margin_rows,
    read_onnx,
)
from holdfast.certify.bounds.forms import linear_forms
from holdfast.certify.bounds.forward import Forward
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.bounds.mixed import ForwardBackward, IntervalLinear
from holdfast.certify.operators.affine import Linear
from holdfast.certify.operators.constants import Constant, Constants, Fixed, Named
from holdfast.certify.operators.ops import Input, Node
from holdfast.certify.operators.piecewise_lines import relu_lines
from holdfast.certify.operators.relaxation import lines_of
from holdfast.certify.operators.structural import Add, ReLU
from holdfast.certify.rounding import Box
from holdfast.core.random import Keys
from holdfast.threats import Linf

LA = Dual(schedule="plain")
TABLE_OF_POLYTOPES = [(0.05, 1.17, 218), (0.1, 1.47, 194), (0.25, 2.27, 203)]


class Cube(Hull):
    boxed = True


def dense(sizes: list[int], seed: int = 0, *, bias: float = 0.5) -> nn.Sequential:
    """A network of ReLUs with keyed weights of a reasonable scale, float64."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise(sizes)):
        layer = nn.Linear(before, after).double()
        with torch.no_grad():
            weight, offset = (
                inputs(1, tuple(each.shape), seed=97 * seed + 2 * index + i)[0] - 0.5
                for i, each in enumerate((layer.weight, layer.bias))
            )
            layer.weight.copy_(weight * 4 / math.sqrt(before))
            layer.bias.copy_(2 * bias * offset)
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# Wong 2020, sec 3.1


def test_the_triangle_holds_and_its_upper_edge_meets_the_ends():
    """Eq. 3.4: z >= 0, z >= zhat, -u zhat + (u - l) z <= -u l."""
    low, high = -1.5, 0.7
    lines = relu_lines(Box(*torch.tensor([[low], [high]], dtype=torch.float64)))
    for z in np.linspace(low, high, 29):
        value = max(z, 0.0)
        assert -high * z + (high - low) * value <= -high * low + 1e-15
        assert value <= lines.upper_slope.item() * z + lines.upper_intercept.item()
    for z in (low, high):
        line = lines.upper_slope.item() * z + lines.upper_intercept.item()
        assert line == pytest.approx(max(z, 0), abs=1e-14)


def test_without_unstable_units_the_bound_is_exact():
    """5.5.3: the network is affine on the ball, and J is its smallest value there."""
    net, x, y = dense([4, 6, 5, 3]), inputs(2, (4,)), torch.tensor([0, 2])
    captured, rows, eps = capture(net, (4,)), margin_rows(y, 3).double(), 1e-3
    found = boxes(captured, Box(x - eps, x + eps), rigorous=True)
    relus = [node for node in captured.nodes if isinstance(node.op, ReLU)]
    spans = [found[node.inputs[0]] for node in relus]
    assert all(((box.lower > 0) | (box.upper < 0)).all() for box in spans)
    jacobian = torch.stack([torch.autograd.functional.jacobian(net, each) for each in x])
    with torch.no_grad():
        middle = (rows @ net(x).unsqueeze(2)).squeeze(2)
    for threat, order in ((Cube(eps), 1), (Ball2(eps), 2)):
        least = middle - eps * torch.linalg.vector_norm(rows @ jacobian, ord=order, dim=2)
        for method in (LA, CROWN(), CrownIBP(), Forward(), IntervalLinear()):
            exact = replace(method, schedule="plain").bound(captured, x, threat, rows).lower
            torch.testing.assert_close(exact, least, atol=1e-8, rtol=0)


def test_the_column_of_the_label_is_zero():
    """5.5.5: J of e_y - e_y is zero exactly."""
    net, x = capture(dense([4, 6, 5, 3]), (4,)), inputs(2, (4,))
    for method in (LA, Forward(), CrownIBP()):
        found = method.bound(net, x, Cube(0.3), torch.zeros(1, 3)).lower
        assert (found <= 0).all()
        assert (found > -1e-12).all()


def test_at_radius_zero_the_bound_is_the_margin():
    """5.5.6: with l = u = zhat, J is c^T f(x)."""
    net, x, rows = dense([4, 8, 6, 3]), inputs(3, (4,)), margin_rows(torch.tensor([0, 2, 1]), 3)
    with torch.no_grad():
        margins = torch.einsum("brk,bk->br", rows.double(), net(x))
    captured = capture(net, (4,))
    for method in METHODS:
        found = method.bound(captured, x, Cube(0.0), rows).lower
        assert (found <= margins).all()
        torch.testing.assert_close(found, margins, atol=1e-10, rtol=0)


def test_the_bound_falls_as_the_radius_grows():
    """6.4.5 and 7.5.4: not proved for the fixed slope, and without exception on random networks."""
    radius = torch.linspace(0.005, 1, 150).double()
    for seed in range(4):
        net, x = capture(dense([3, 10, 10, 2], seed), (3,)), inputs(1, (3,), seed=seed)
        threat = Linf(radius, box=None)
        lower = LA.bound(net, x.expand(150, -1), threat, torch.eye(2)).lower
        assert (lower.diff(dim=0) < 0).all()
        label = net.forward(x).argmax(1).expand(150)
        margins = LA.bound(net, x.expand(150, -1), threat, margin_rows(label, 2)).lower
        logits = F.pad(-margins, (1, 0))  # the zero is the label's
        losses = F.cross_entropy(logits, torch.zeros(150).long(), reduction="none")
        assert (losses.diff() >= 0).all()


def test_the_first_layer_is_that_of_intervals():
    """6.4.2: on a box, all methods agree before the first ReLU."""
    net, x = dense([4, 6, 3]), inputs(2, (4,))
    wanted = boxes(capture(net, (4,)), Box(x - 0.3, x + 0.3), rigorous=True)[1]
    for method in (LA, Forward(lines="symbols", schedule="plain")):
        problem = method.posed(net, x, Cube(0.3), torch.eye(3))
        ((known, _),) = method.known(problem)
        for first, second in zip(known.boxes[1], wanted, strict=True):
            torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


def test_the_second_layer_is_exact_where_the_first_is_stable():
    """6.4.3, also where one unit is always off."""
    net, x, eps = dense([3, 5, 4, 2]), inputs(1, (3,)), 0.05
    with torch.no_grad():
        net[0].bias[:4], net[0].bias[4] = 5.0, -5.0
    points = torch.cartesian_prod(*([torch.tensor([-eps, eps]).double()] * 3)) + x
    with torch.no_grad():
        corners = net[2](net[1](net[0](points)))
    problem = LA.posed(net, x, Cube(eps), torch.eye(2))
    ((known, _),) = LA.known(problem)
    torch.testing.assert_close(known.boxes[3].lower[0], corners.amin(0), atol=1e-8, rtol=0)
    torch.testing.assert_close(known.boxes[3].upper[0], corners.amax(0), atol=1e-8, rtol=0)


def widths_over_true(seed, eps, side):
    """How wide the dual bound and intervals are over the true width of both outputs, (2, 2)."""
    layers = [nn.Linear(2, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 100)]
    net = nn.Sequential(*layers, nn.ReLU(), nn.Linear(100, 2)).double()
    with torch.no_grad():
        for index, tensor in enumerate(net.parameters()):
            scale = 1 / math.sqrt(tensor.shape[1]) if tensor.ndim == 2 else 1.0
            noise = Keys.of(seed, [index]).normal(tuple(tensor.shape))[0].double()
            tensor.copy_(noise * scale)
    x, line = inputs(1, (2,), seed=seed), torch.linspace(-eps, eps, side).double()
    with torch.no_grad():
        values = net(torch.cartesian_prod(line, line) + x)
    true = values.amax(0) - values.amin(0)
    found = torch.stack([
        method.bound(net, x, Cube(eps), torch.cat([torch.eye(2), -torch.eye(2)])).lower[0]
        for method in (LA, Interval())
    ])  # fmt: skip
    return -(found[:, :2] + found[:, 2:]) / true


@pytest.mark.parametrize(("eps", "most"), [(0.05, 2.1), (0.1, 2.7), (0.25, 6.3)])
@pytest.mark.parametrize("seed", range(2))
def test_boxes_on_random_polytopes_are_as_loose_as_printed(seed, eps, most):
    """8.3: widths over the true width on random nets: 1.0 to 2.1 for the dual bound at 0.05, up to
    2.6 and 6.2 at 0.1 and 0.25, and more than sixty for intervals."""
    dual, interval = widths_over_true(seed, eps, 61).amax(1).tolist()
    assert 1 <= dual < most
    assert interval > 60


@pytest.mark.slow
@pytest.mark.parametrize(("eps", "dual", "interval"), TABLE_OF_POLYTOPES)
def test_medians_on_thirty_random_polytopes_are_those_printed(eps, dual, interval):
    """8.3, of other draws of the weights: within a quarter, 1.21, 1.53 and 2.71 for the dual bound
    and 212, 224 and 216 for intervals."""
    found = torch.cat([widths_over_true(seed, eps, 41) for seed in range(30)], dim=1)
    assert found[0].median().item() == pytest.approx(dual, rel=0.25)
    assert found[1].median().item() == pytest.approx(interval, rel=0.25)


# Wong 2020, sec 3.4.1 and 3.4.2: graphs and dual layers


def conjugate(z: Tensor, value: Tensor, nu: Tensor, v: Tensor) -> Tensor:
    """The largest -z nu + op(z) v over points z (S, N)."""
    return (-z * nu + value * v).amax(0)


@pytest.mark.parametrize("alpha", [None, 0.0, 0.35, 1.0])
def test_the_dual_layer_of_a_relu_is_the_maximum_over_the_triangle(alpha):
    """Cor. 5: h = max(0, -l nu, u (v - nu)), and -l [nu]_+ with nu = D v; for v < 0 and any alpha
    it is zero. Eq. 3.82: the conjugate over the graph of the ReLU on [l, u] is the same."""
    low, high = -1.3, 0.9
    slope = high / (high - low)
    for v in (torch.tensor([0.8]).double(), torch.tensor([-1.7]).double()):
        below = slope if alpha is None else alpha
        nu = torch.where(v > 0, slope * v, below * v)
        triangle = torch.stack([0 * v, -low * nu, high * (v - nu)]).amax(0)
        z = torch.linspace(low, high, 4001, dtype=torch.float64).unsqueeze(1)
        grid = conjugate(z, z.relu(), nu, v)
        torch.testing.assert_close(grid, triangle, atol=1e-3, rtol=0)
        box = Box(*torch.tensor([[low], [high]], dtype=torch.float64))
        given = torch.tensor([below], dtype=torch.float64)
        lines = relu_lines(box, adaptive=False, slope=given)
        h = torch.where(v > 0, lines.upper_intercept, lines.lower_intercept) * v
        torch.testing.assert_close(h, -low * nu.clamp(min=0), atol=1e-13, rtol=0)
        torch.testing.assert_close(h, triangle, atol=1e-12, rtol=0)


class Skips(nn.Module):
    """A residual, a node read three times, a dense-style concatenation, and five activations."""

    def __init__(self, seed: int):
        super().__init__()
        self.first, self.second, self.third, self.last = (
            nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(12, 5), nn.Linear(5, 3)
        )  # fmt: skip
        with torch.no_grad():
            for index, tensor in enumerate(self.parameters()):
                tensor.copy_(2 * inputs(1, tuple(tensor.shape), seed=50 * seed + index)[0] - 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        a = torch.relu(z)
        b = F.leaky_relu(self.second(a), 0.1) - z
        c = torch.cat([torch.tanh(b) + z, F.hardtanh(b - a)], dim=1)
        return self.last(torch.sigmoid(self.third(c)))


METHODS = [
    Dual(), LA, CROWN(), CrownIBP(), IntervalLinear(), ForwardBackward(),
    Forward(), Forward(lines="parallel"), Forward(lines="symbols"), AlphaCrown(steps=2),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("threat", [Cube(0.3), Ball2(0.4)], ids=["linf", "l2"])
def test_bounds_of_a_graph_with_skips_hold(seed, threat):
    """Theorem 3, with nodes of several outgoing edges (11.4) and mixed activations."""
    captured = capture(Skips(seed), (4,))
    x, spec = inputs(3, (4,)), torch.cat([torch.eye(3), torch.tensor([[1.0, -2.0, 1.0]])])
    move = 2 * inputs(400, (3, 4), seed=5) - 1
    if isinstance(threat, Ball2):
        move = F.normalize(move, dim=2)
    points = x + threat.radius * move
    with torch.no_grad():
        values = captured.forward(points.flatten(0, 1)).view(400, 3, 3) @ spec.double().mT
    for method in METHODS:
        found = method.bound(captured, x, threat, spec)
        assert found.sound
        assert found.lower.isfinite().all()
        assert (values >= found.lower).all()


class Leaky(nn.Module):
    """A pre-activation that also feeds a skip."""

    def __init__(self, seed: int):
        super().__init__()
        self.first, self.last = nn.Linear(3, 4).double(), nn.Linear(4, 1).double()
        with torch.no_grad():
            for index, tensor in enumerate(self.parameters()):
                tensor.copy_(2 * inputs(1, tuple(tensor.shape), seed=9 * seed + index)[0] - 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        return self.last(torch.relu(z)) + z[:, :1] - 2 * z[:, 1:2]


@pytest.mark.slow
def test_the_penalty_of_a_relu_uses_its_own_edge():
    """11.4: with the total dual variable of the node, one trial in nine would not be sound."""
    corners = torch.cartesian_prod(*([torch.tensor([-1.0, 1.0]).double()] * 3))
    inner = 2 * inputs(200, (3,), seed=8) - 1
    for seed in range(6):
        net, x = Leaky(seed), inputs(2, (3,), seed=seed)
        captured = capture(net, (3,))
        points = x + 0.5 * torch.cat([corners, inner]).unsqueeze(1)
        with torch.no_grad():
            values = captured.forward(points.flatten(0, 1)).view(-1, 2, 1)
        for method in (LA, Forward(lines="symbols"), CROWN()):
            found = method.bound(captured, x, Cube(0.5), torch.ones(1, 1)).lower
            assert (values >= found).all()
            assert (values.amin(0) - found < 2).all()


def test_a_folded_batch_norm_gives_the_same_bounds():
    """Cor. 7, with a normalisation that is a layer and one that is folded into the weights."""
    conv, norm = nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4)
    with torch.no_grad():
        for index, tensor in enumerate((norm.running_mean, norm.bias, norm.weight, conv.weight)):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.4)
        norm.running_var.copy_(torch.linspace(0.2, 2, 4))
    head = [nn.ReLU(), nn.Flatten(), nn.Linear(80, 5)]
    plain = nn.Sequential(conv, norm, *head).double().eval()
    folded = nn.Sequential(nn.utils.fuse_conv_bn_eval(plain[0], plain[1]), *plain[2:]).eval()
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    both = [capture(net, (2, 7, 6)) for net in (plain, folded)]
    for method in (LA, CROWN(), CrownIBP(), Forward(), Interval()):
        first, second = (method.bound(net, x, Cube(0.05), rows).lower for net in both)
        torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


# Liu 2022, sec 3.1


def worst_logits(net: Graph, x: Tensor, y: Tensor, eps: float, method: Dual) -> Tensor:
    """Upper ends of all logits, and the lower end of the label's."""
    rows = torch.cat([torch.eye(3), -torch.eye(3)])
    found = method.bound(net, x, Cube(eps), rows).lower
    low, high = found[:, :3], -found[:, 3:]
    label = F.one_hot(y, 3).bool()
    return torch.where(label, low, high)


def ascended(net, x, y, eps):
    """Points that signed gradient steps on the loss reach from three starts, (3, B, n)."""
    at = x + eps * (2 * inputs(3, tuple(x.shape), seed=6) - 1)
    for _ in range(10):
        at.requires_grad_()
        loss = F.cross_entropy(net(at.flatten(0, 1)), y.repeat(3), reduction="sum")
        (gradient,) = torch.autograd.grad(loss, at)
        at = (x + (at.detach() - x + eps / 4 * gradient.sign()).clamp(-eps, eps)).detach()
    return at


LOSSES = {
    "cross entropy": lambda z, y: F.cross_entropy(z, y, reduction="none"),
    "hinge": lambda z, y: F.multi_margin_loss(z, y, reduction="none"),
    "0-1": lambda z, y: (z.argmax(1) != y).double(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_the_dual_margins_bound_the_adversarial_loss(name):
    """Theorem 2 for the losses that do not mind a shift of all logits (Property 1); the squared
    error does, and its value at -J bounds nothing."""
    net, x, y = dense([4, 8, 6, 3]), inputs(3, (4,)), torch.tensor([0, 2, 1])
    loss, eye = LOSSES[name], torch.eye(3).double()
    logits = 3 * inputs(20, (3,), seed=8) - 1
    labels = torch.arange(20) % 3
    torch.testing.assert_close(loss(logits - 7.25, labels), loss(logits, labels))
    squared = (logits - eye[labels]).square().sum(1)
    assert ((logits - 7.25 - eye[labels]).square().sum(1) - squared).abs().min() > 1
    for eps in (0.05, 0.3):
        drawn = x + eps * (2 * inputs(300, (3, 4), seed=3) - 1)
        points = torch.cat([drawn, ascended(net, x, y, eps)])
        with torch.no_grad():
            values = loss(net(points.flatten(0, 1)), y.repeat(303)).view(303, 3)
        dual = LA.bound(capture(net, (4,)), x, Cube(eps), eye[y].unsqueeze(1) - eye).lower
        assert (values <= loss(-dual, y) + 1e-12).all()


def test_the_loss_of_the_worst_logits_bounds_the_loss():
    """Eq. 3.1, equal at radius zero; with elision the bound is never looser (4.5)."""
    net, x, y = dense([4, 8, 6, 3]), inputs(3, (4,)), torch.tensor([0, 2, 1])
    captured = capture(net, (4,))
    identity = torch.eye(3).double()
    for eps in (0.0, 0.05, 0.3):
        points = x + eps * (2 * inputs(300, (3, 4), seed=3) - 1)
        points[:3] = ascended(net, x, y, eps)
        with torch.no_grad():
            logits = net(points.flatten(0, 1))
        losses = F.cross_entropy(logits, y.repeat(300), reduction="none").view(300, 3)
        for method in (LA, IntervalLinear(schedule="plain")):
            whole = worst_logits(captured, x, y, eps, method)
            bound = F.cross_entropy(whole, y, reduction="none")
            assert (losses <= bound + 1e-12).all()
            merged = method.bound(captured, x, Cube(eps), identity[y].unsqueeze(1) - identity).lower
            tighter = F.cross_entropy(-merged, y, reduction="none")
            assert (losses <= tighter + 1e-12).all()
            assert (tighter <= bound + 1e-9).all()
            if eps == 0:
                torch.testing.assert_close(tighter, losses[0], atol=1e-8, rtol=0)
                torch.testing.assert_close(bound, losses[0], atol=1e-8, rtol=0)


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "hardtanh"])
def test_some_intercept_in_the_band_reproduces_the_activation(name):
    """Eq. 3.6: a = op(z) - d z lies in [a_low, a_up] for every z of the interval."""
    captured = capture(Function({"hardtanh": F.hardtanh}.get(name) or getattr(torch, name)), (1,))
    low = torch.tensor([[-2.0], [-1.0], [0.5], [-0.2]]).double()
    box = Box(low, low + 2.5)
    lines = lines_of(captured.nodes[1].op, box, adaptive=False)
    z = torch.lerp(*box, torch.linspace(0, 1, 101).double().view(-1, 1, 1))
    value = captured.forward(z.flatten(0, 1)).view_as(z)
    intercept = value - lines.upper_slope * z
    assert (intercept >= lines.lower_intercept - 1e-12).all()
    assert (intercept <= lines.upper_intercept + 1e-12).all()


def test_neither_intervals_nor_linear_bounds_dominate():
    """4.4: both orders occur, at small radii and at large ones."""
    signs = set()
    for seed in range(3):
        net = capture(dense([3, 7, 6, 2], seed), (3,))
        x = inputs(4, (3,), seed=seed)
        rows = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        for eps in (0.05, 0.4, 1.0):
            interval = Interval().bound(net, x, Cube(eps), rows).lower
            linear = LA.bound(net, x, Cube(eps), rows).lower
            signs |= set((interval > linear + 1e-3).flatten().tolist())
    assert signs == {True, False}


def test_a_linear_form_of_the_margin_is_composed_of_its_parts():
    """Eq. 3.7 and Alg. 3.1 written with dense matrices, on a network with two hidden layers."""
    net, x, eps = dense([3, 5, 4, 2]), inputs(1, (3,)), 0.4
    weights = [net[i].weight.detach() for i in (0, 2, 4)]
    offsets = [net[i].bias.detach() for i in (0, 2, 4)]
    slopes, above_zero, low, high = [], [], x[0], x[0]
    for weight, offset in zip(weights, offsets, strict=True):
        product, center, below, above = weight, offset, 0.0, 0.0
        for i in reversed(range(len(slopes))):
            below = below + product.clamp(max=0) @ above_zero[i]
            above = above + product.clamp(min=0) @ above_zero[i]
            product = product * slopes[i]
            center = center + product @ offsets[i]
            product = product @ weights[i]
        center, around = center + product @ x[0], eps * product.abs().sum(1)
        low, high = center - around + below, center + around + above
        crossing = (low < 0) & (high > 0)
        slopes.append(torch.where(crossing, high / (high - low), (low >= 0).double()))
        above_zero.append(torch.where(crossing, -low * slopes[-1], 0.0))
    rows = torch.cat([torch.eye(2), -torch.eye(2)])
    for method in (LA, Forward(lines="symbols", schedule="plain")):
        found = method.bound(net, x, Cube(eps), rows).lower[0]
        torch.testing.assert_close(found[:2], low, atol=1e-9, rtol=0)
        torch.testing.assert_close(found[2:], -high, atol=1e-9, rtol=0)


# one network, three ways into the graph


def three_graphs(folder):
    """The same weights exported from a module, put together by hand, and read from a file."""
    net = dense([4, 6, 6, 3]).float()
    weights = [each.detach() for each in net.parameters()]

    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            z = torch.relu(self.net[0](x))
            return self.net[4](torch.relu(self.net[2](z)) + z)

    module = Residual()
    names = [f"net.{i}.{part}" for i in (0, 2, 4) for part in ("weight", "bias")]
    layers = [Linear(Constant(2 * i), Constant(2 * i + 1)) for i in range(3)]
    ops = [
        (Input(), (), 4), (layers[0], (0,), 6), (ReLU(), (1,), 6), (layers[1], (2,), 6),
        (ReLU(), (3,), 6), (Add(), (4, 2), 6), (layers[2], (5,), 3),
    ]  # fmt: skip
    nodes = tuple(Node(i, op, read, (size,), f"n{i}", "") for i, (op, read, size) in enumerate(ops))
    by_hand = Graph(nodes, Constants(module, tuple(Named(name) for name in names)))
    parts = [constant(f"c{i}", each.numpy()) for i, each in enumerate(weights)]
    calls = [
        make_node("Gemm", ["x", "c0", "c1"], ["a"], transB=1),
        make_node("Relu", ["a"], ["b"]),
        make_node("Gemm", ["b", "c2", "c3"], ["c"], transB=1),
        make_node("Relu", ["c"], ["d"]),
        make_node("Add", ["d", "b"], ["e"]),
        make_node("Gemm", ["e", "c4", "c5"], ["y"], transB=1),
    ]
    from_file = read_onnx(saved(model(calls, [1, 4], parts), folder))
    return capture(module, (4,)), by_hand, from_file


@pytest.mark.slow
def test_exported_written_and_read_graphs_have_the_same_bounds(tmp_path):
    x, rows = inputs(3, (4,)), margin_rows(torch.tensor([0, 2, 1]), 3)
    graphs = three_graphs(tmp_path)
    for method in (Interval(), *METHODS):
        for threat in (Cube(0.2), Ball2(0.3)):
            first, *others = (method.bound(each, x, threat, rows).lower for each in graphs)
            for other in others:
                torch.testing.assert_close(other, first, atol=1e-10, rtol=0)
    spread = linear_forms(CROWN(), graphs[0], x, Cube(0.2), rows).coefficients
    assert (spread != 0).any()


def test_constants_written_by_hand_are_those_of_a_module():
    """A graph needs no module: its constants may stand in it."""
    net = small_net()
    fixed = tuple(Fixed(each.detach()) for each in net.parameters())
    exported = capture(net, (2,))
    nodes = (
        Node(0, Input(), (), (2,), "x", ""),
        Node(1, Linear(Constant(0), Constant(1)), (0,), (3,), "a", ""),
        Node(2, ReLU(), (1,), (3,), "b", ""),
        Node(3, Linear(Constant(2), Constant(3)), (2,), (2,), "y", ""),
    )
    by_hand, x = Graph(nodes, Constants(nn.Module(), fixed)), torch.tensor([[0.5, 0.5]]).double()
    for method in (LA, CROWN(), Forward(), Interval()):
        first, second = (
            method.bound(each, x, Cube(0.3), torch.tensor([[1.0, -1.0]])).lower
            for each in (by_hand, exported)
        )
        torch.testing.assert_close(first, second, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "method", METHODS, ids=lambda each: f"{type(each).__name__}-{each.schedule}"
)
def test_both_precisions_agree(method):
    safe = replace(method, schedule="plain")  # the cheap one does other steps in each mode
    fast = replace(safe, mode="fast")
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    for name in ("conv", "residual"):
        first = fast.bound(graph(name), x.float(), Cube(0.02), rows).lower
        second = safe.bound(graph(name), x.float(), Cube(0.02), rows).lower
        torch.testing.assert_close(first.double(), second, atol=2e-4, rtol=1e-4)


def test_samples_of_example_b_lie_between_all_bounds():
    """Golden example B at the largest radius of its table, by every method and at both ends."""
    x, rows = torch.tensor([[0.6, 0.2]]).double(), torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    points = samples(x - 0.2, x + 0.2, 500)
    with torch.no_grad():
        values = deep_net().double()(points.flatten(0, 1)) @ rows.double().mT
    captured = capture(deep_net(), (2,))
    for method in METHODS:
        assert (values >= method.bound(captured, x, Cube(0.2), rows).lower).all()
