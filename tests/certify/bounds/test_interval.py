import gzip
import math
from fractions import Fraction

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call

from certify.nets import (
    SHAPE,
    Ball2,
    Hull,
    deep_graph,
    graph,
    inputs,
    samples,
    small_graph,
    small_net,
)
from holdfast.certify import (
    Interval,
    capture,
    certified,
    interval_logits,
    interval_margins,
    margin_rows,
)
from holdfast.certify.bounds.interval import boxes
from holdfast.certify.operators.structural import ReLU
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.regions import hull_box
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.results import Bounds
from holdfast.threats import L2, Linf

MODELS = ["conv", "pooled", "residual", "functional"]
GOLDEN_A = [
    (math.inf, 0.1, 1.05, 3.45),
    (math.inf, 0.3, -1.35, 5.55),
    (math.inf, 0.5, -3.75, 6.75),
    (math.inf, 0.8, -5.55, 8.55),
    (2, 0.1, 1.378522, 3.121478),
    (2, 0.5, -2.107388, 5.986068),
    (2, 0.8, -4.144113, 7.327709),
]


@pytest.mark.parametrize(("p", "eps", "low", "high"), GOLDEN_A)
@pytest.mark.parametrize("mode", ["rigorous", "fast"])
def test_golden_example_a(p, eps, low, high, mode):
    x, y = torch.tensor([[0.5, 0.5]]).double(), torch.tensor([0])
    threat = Hull(eps) if p == math.inf else Ball2(eps)
    method = Interval(mode=mode, first_layer="hull" if p == math.inf else "support")
    bounds = method.bound(small_graph(), x, threat, margin_rows(y, 2))
    assert bounds.lower.item() == pytest.approx(low, abs=6e-7)
    assert bounds.upper.item() == pytest.approx(high, abs=6e-7)
    assert bounds.sound == (mode == "rigorous")


@pytest.mark.parametrize(
    ("eps", "before", "after", "margin"),
    [
        (0.05, [0.25, 0], [0.75, 0.8], -1.1),
        (0.1, [0, -0.4], [1.0, 1.2], -2.65),
        (0.2, [-0.5, -0.8], [1.3, 2.0], -4.25),
    ],
)
def test_golden_example_b(eps, before, after, margin):
    captured = deep_graph()
    x = torch.tensor([[0.6, 0.2]], dtype=torch.float64)
    found = boxes(captured, Box(*Hull(eps).hull(x)), rigorous=True)[3]
    torch.testing.assert_close(
        found.lower[0], torch.tensor(before, dtype=torch.float64), atol=1e-12, rtol=0
    )
    torch.testing.assert_close(
        found.upper[0], torch.tensor(after, dtype=torch.float64), atol=1e-12, rtol=0
    )
    bounds = Interval().bound(captured, x, Hull(eps), torch.tensor([[1.0, -1.0]]))
    assert bounds.lower.item() == pytest.approx(margin, abs=1e-12)


@pytest.mark.parametrize("p", [math.inf, 2])
def test_linear_model_is_exact(p):
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x, y, eps = inputs(3, (2, 3, 2)), torch.tensor([0, 3, 1]), 0.07
    weight = margin_rows(y, 4).double() @ model[1].weight
    margin = (margin_rows(y, 4).double() @ model(x).unsqueeze(2)).squeeze(2)
    drop = eps * torch.linalg.vector_norm(weight, ord=1 if p == math.inf else 2, dim=2)
    threat = Hull(eps) if p == math.inf else Ball2(eps)
    method = Interval(first_layer="support")
    bounds = method.bound(model, x, threat if p == 2 else Linf(eps, box=None), margin_rows(y, 4))
    slack = 1e-12 if p == 2 else 1e-4
    torch.testing.assert_close(bounds.lower, margin - drop, atol=slack, rtol=0)
    torch.testing.assert_close(bounds.upper, margin + drop, atol=slack, rtol=0)
    assert (bounds.lower < margin - drop).all()
    by_hull = Interval().bound(model, x, threat, margin_rows(y, 4))
    assert (by_hull.lower <= bounds.lower + slack).all()


@pytest.mark.parametrize(("name", "count"), [("conv", 2500), ("functional", 2500), ("pooled", 500)])
def test_samples_stay_within_rigorous_bounds(name, count):
    """Up to 10^4 points, corners among them, on 4 examples."""
    x, y, eps = inputs(4), torch.tensor([0, 4, 2, 1]), 0.02
    rows = margin_rows(y, 5)
    bounds = Interval().bound(graph(name), x, Hull(eps), rows)
    points = samples(*Hull(eps).hull(x), count)
    with torch.no_grad():
        logits = graph(name).forward(points.flatten(0, 1)).view(count, 4, 5)
    values = torch.einsum("brk,sbk->sbr", rows.double(), logits)
    assert (values >= bounds.lower).all()
    assert (values <= bounds.upper).all()
    assert (values.amax(0) - values.amin(0) > 0.05 * (bounds.upper - bounds.lower)).any()


def test_descent_on_the_residual_net_stays_within_rigorous_bounds():
    """Signed gradient steps find lower margins than sampling does, at every row."""
    x, y, eps = inputs(3), torch.tensor([0, 4, 2]), 0.02
    rows = margin_rows(y, 5).double()
    bounds = Interval().bound(graph("residual"), x, Hull(eps), rows)
    lo, hi = Hull(eps).hull(x)
    for row in range(4):
        point = x.clone()
        for _ in range(10):
            point.requires_grad_()
            value = (rows[:, row] * graph("residual").forward(point)).sum(1)
            assert (value >= bounds.lower[:, row]).all()
            (gradient,) = torch.autograd.grad(value.sum(), point)
            point = (point - 0.01 * gradient.sign()).detach().clamp(lo, hi)


@pytest.mark.parametrize("name", MODELS)
def test_bounds_nest_as_the_radius_grows_and_meet_at_zero(name):
    x, spec = inputs(3), torch.eye(5)
    wide = Interval().bound(graph(name), x, Hull(0.0), spec)
    with torch.no_grad():
        logits = graph(name).forward(x)
    torch.testing.assert_close(wide.lower, logits, atol=1e-10, rtol=0)
    torch.testing.assert_close(wide.upper, logits, atol=1e-10, rtol=0)
    for radius in (0.001, 0.01, 0.1, 1.0):
        narrow, wide = wide, Interval().bound(graph(name), x, Hull(radius), spec)
        assert (wide.lower < narrow.lower).all()
        assert (wide.upper > narrow.upper).all()


@pytest.mark.parametrize("name", MODELS)
def test_merging_the_last_layer_is_never_looser(name):
    x, y = inputs(3), torch.tensor([4, 0, 2])
    merged = Interval().bound(graph(name), x, Hull(0.01), margin_rows(y, 5))
    each = Interval().bound(graph(name), x, Hull(0.01), torch.eye(5))
    rows = margin_rows(y, 5).double()
    separate = (rows.clamp(min=0) @ each.lower.unsqueeze(2)).squeeze(2)
    separate += (rows.clamp(max=0) @ each.upper.unsqueeze(2)).squeeze(2)
    assert (merged.lower >= separate - 1e-12).all()
    assert (merged.lower > separate + 1e-3).any()


@pytest.mark.parametrize("name", MODELS)
def test_an_example_does_not_depend_on_its_neighbours(name):
    x, y = inputs(5), torch.tensor([0, 1, 2, 3, 4])
    together = Interval().bound(graph(name), x, Hull(0.01), margin_rows(y, 5)).lower
    order = torch.tensor([3, 0, 4, 1, 2])
    mixed = Interval().bound(graph(name), x[order], Hull(0.01), margin_rows(y[order], 5)).lower
    torch.testing.assert_close(mixed, together[order], atol=1e-12, rtol=0)
    alone = Interval().bound(graph(name), x[2:3], Hull(0.01), margin_rows(y[2:3], 5)).lower
    torch.testing.assert_close(alone, together[2:3], atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_fast_and_rigorous_agree_up_to_float32(name):
    x, spec = inputs(3).float(), torch.eye(5)[:3]
    fast = Interval(mode="fast").bound(graph(name), x, Hull(0.01), spec)
    rigorous = Interval().bound(graph(name), x, Hull(0.01), spec)
    assert fast.lower.dtype == torch.float32
    assert not fast.sound
    assert rigorous.sound
    torch.testing.assert_close(fast.lower.double(), rigorous.lower, atol=1e-4, rtol=1e-4)
    assert rigorous.cost["forwards"] > fast.cost["forwards"]


def test_support_of_the_first_layer_tightens_the_ball_and_only_the_ball():
    x, spec = inputs(3), torch.eye(5)
    for name in ("conv", "residual"):
        hull = Interval().bound(graph(name), x, L2(0.1), spec)
        tight = Interval(first_layer="support").bound(graph(name), x, L2(0.1), spec)
        assert (tight.lower > hull.lower + 1e-3).all()
        box = Interval().bound(graph(name), x, Linf(0.1), spec)
        same = Interval(first_layer="support").bound(graph(name), x, Linf(0.1), spec)
        torch.testing.assert_close(same.lower, box.lower, atol=1e-4, rtol=1e-4)


def test_samples_of_the_ball_stay_within_the_support_bound():
    x, rows = inputs(3), torch.eye(5)
    bounds = Interval(first_layer="support").bound(graph("conv"), x, Ball2(0.3), rows)
    move = samples(-torch.ones_like(x), torch.ones_like(x), 500)
    move = 0.3 * move / torch.linalg.vector_norm(move.flatten(2), dim=2)[..., None, None, None]
    with torch.no_grad():
        logits = graph("conv").forward((x + move).flatten(0, 1)).view(500, 3, 5)
    assert (logits >= bounds.lower).all()
    assert (logits <= bounds.upper).all()


def test_chunks_of_the_first_layer_do_not_matter(monkeypatch):
    x, rows = inputs(3), torch.eye(5)
    whole = Interval(first_layer="support").bound(graph("conv"), x, Ball2(0.3), rows)
    monkeypatch.setattr("holdfast.certify.substitution.chains._CHUNK", 3 * x.numel())
    parts = Interval(first_layer="support").bound(graph("conv"), x, Ball2(0.3), rows)
    torch.testing.assert_close(parts.lower, whole.lower, atol=1e-12, rtol=0)


def test_margins_for_training_are_the_bounds_with_a_zero_at_the_label():
    x, y = inputs(3), torch.tensor([4, 0, 2])
    margins = interval_margins(graph("residual"), *Hull(0.01).hull(x), y)
    bounds = Interval().bound(graph("residual"), x, Hull(0.01), margin_rows(y, 5))
    others = torch.arange(5) != y.unsqueeze(1)
    assert (margins[~others] == 0).all()
    torch.testing.assert_close(margins[others].view(3, 4), bounds.lower, atol=1e-10, rtol=0)
    lower, upper = interval_logits(graph("residual"), *Hull(0.01).hull(x))
    each = Interval().bound(graph("residual"), x, Hull(0.01), torch.eye(5))
    torch.testing.assert_close(lower, each.lower, atol=1e-10, rtol=0)
    torch.testing.assert_close(upper, each.upper, atol=1e-10, rtol=0)


class Margins(nn.Module):
    """Interval margins as a module, so that parameters can be replaced for a gradient check."""

    def __init__(self, model, x, y):
        super().__init__()
        self.model, self.x, self.y = model, x, y
        self.graph = capture(model, tuple(x.shape[1:]))

    def forward(self):
        return interval_margins(self.graph, self.x - 0.1, self.x + 0.1, self.y)


def test_margins_are_differentiable_in_the_live_parameters():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3)
    ).double()
    margins = Margins(model, inputs(2, (1, 3, 2)), torch.tensor([2, 0]))
    names, tensors = zip(*margins.named_parameters(), strict=True)
    assert "model.1.weight" in names

    def value(*tensors):
        return functional_call(margins, dict(zip(names, tensors, strict=True)), ())

    assert torch.autograd.gradcheck(value, [each.detach().requires_grad_() for each in tensors])


def test_training_with_one_capture_proves_more():
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    x = inputs(64, (2,)).float()
    y = (x[:, 0] > x[:, 1]).long()
    captured, rows = capture(model, (2,)), margin_rows(y, 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    before = certified(Interval().bound(captured, x, Hull(0.02), rows)).sum()
    for _ in range(60):
        loss = nn.functional.cross_entropy(-interval_margins(captured, x - 0.02, x + 0.02, y), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = certified(Interval().bound(captured, x, Hull(0.02), rows)).sum()
    assert after > max(before, 50)


def test_negated_margins_bound_the_worst_cross_entropy():
    x, y = inputs(3), torch.tensor([4, 0, 2])
    margins = interval_margins(graph("conv"), *Hull(0.02).hull(x), y)
    bound = nn.functional.cross_entropy(-margins, y, reduction="none")
    points = samples(*Hull(0.02).hull(x), 200)
    for logits in graph("conv").forward(points.flatten(0, 1)).view(200, 3, 5):
        loss = nn.functional.cross_entropy(logits, y, reduction="none")
        assert (loss <= bound + 1e-12).all()


@pytest.mark.parametrize(
    ("row", "proved"),
    [
        ([1.0, 1e-300], True),
        ([1.0, 0.0], False),
        ([1.0, -1.0], False),
        ([1.0, math.nan], False),
        ([math.nan, math.nan], False),
        ([math.inf, 1.0], False),
        ([1.0, -math.inf], False),
    ],
)
def test_only_finite_positive_bounds_certify(row, proved):
    lower = torch.tensor([row, [2.0, 3.0]], dtype=torch.float64)
    assert certified(Bounds(lower, None, True, False)).tolist() == [proved, True]


def test_no_rows_certify_nothing():
    assert certified(Bounds(torch.zeros(2, 0), None, True, False)).tolist() == [False, False]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_network_with_a_broken_weight_certifies_nothing(bad):
    model = small_net()
    with torch.no_grad():
        model[0].weight[0, 0] = bad
    x = torch.tensor([[0.5, 0.5]])
    bounds = Interval().bound(model, x, Hull(0.01), margin_rows(torch.tensor([0]), 2))
    assert not certified(bounds).any()


def test_bad_input_is_named():
    captured, x = graph("conv"), inputs(3)
    with pytest.raises(InputError, match=r"^spec=.*\(R, 5\)"):
        Interval().bound(captured, x, Hull(0.1), torch.eye(4))
    with pytest.raises(InputError, match=r"^spec="):
        Interval().bound(captured, x, Hull(0.1), torch.zeros(2, 4, 5))
    with pytest.raises(InputError, match=r"^spec="):
        Interval().bound(captured, x, Hull(0.1), torch.zeros(0, 5))
    with pytest.raises(InputError, match=r"^x=.*\(B, 2, 7, 6\)"):
        Interval().bound(captured, x[:, :1], Hull(0.1), torch.eye(5))
    with pytest.raises(InputError, match=r"^x="):
        Interval().bound(captured, x.long(), Hull(0.1), torch.eye(5))
    with pytest.raises(InputError, match=r"^mode="):
        Interval(mode="rigourous")
    with pytest.raises(InputError, match=r"^y="):
        interval_margins(captured, x, x, torch.tensor([0, 1, 5]))
    with pytest.raises(UnsupportedThreat, match="object"):
        Interval().bound(captured, x, object(), torch.eye(5))
    with pytest.raises(UnsupportedThreat, match="support"):
        Interval(first_layer="support").bound(captured, x, Hull(0.1), torch.eye(5))
    with pytest.raises(InputError, match=r"^model="):
        Interval().bound(nn.Conv2d(2, 3, 2), x.float(), Hull(0.1), torch.eye(5))


@pytest.mark.parametrize("mode", ["rigorous", "fast"])
@pytest.mark.parametrize("method", ["hull", "support"])
@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.1)])
def test_an_example_around_which_the_threat_is_empty_is_refused(mode, method, threat):
    """An empty hull has its lower end above the upper one, which would prove any margin."""
    x = inputs(3, (2,)).float()
    x[1, 0] = 1.5
    method = Interval(mode=mode, first_layer=method)
    with pytest.raises(InputError, match=r"^x=example 1: lies outside the threat's box.*box"):
        method.bound(small_graph(), x, threat, margin_rows(torch.tensor([0, 0, 1]), 2))
    x[1, 0] = 1.05
    bounds = method.bound(small_graph(), x, threat, margin_rows(torch.tensor([0, 0, 1]), 2))
    assert (bounds.lower <= bounds.upper).all()


def test_a_module_is_captured_and_left_as_found():
    model = small_net().train()
    x = torch.tensor([[0.5, 0.5]])
    found = Interval().bound(model, x, Hull(0.1), torch.eye(2))
    same = Interval().bound(capture(model, (2,)), x, Hull(0.1), torch.eye(2))
    assert (found.lower == same.lower).all()
    assert model.training
    assert found.lower.grad_fn is None


def test_the_hull_covers_what_float64_rounds_away():
    """0.1 - 0.3 in float64 is above the difference of the two floats; the widened hull is not."""
    x = torch.tensor([[0.1, 0.3, 1e17]]).double()
    box = hull_box(Hull(0.3), x, rigorous=True)
    for value, low, high in zip(x[0], box.lower[0], box.upper[0], strict=True):
        exact = Fraction(value.item())
        assert Fraction(low.item()) < exact - Fraction(0.3)
        assert Fraction(high.item()) > exact + Fraction(0.3)


def test_empty_batches_pass():
    bounds = Interval().bound(graph("conv"), inputs(3)[:0], Hull(0.1), torch.eye(5))
    assert bounds.lower.shape == (0, 5)
    assert certified(bounds).shape == (0,)


def test_methods_print_and_compare():
    assert Interval() == Interval(mode="rigorous", first_layer="hull")
    assert repr(Interval(mode="fast")) == "Interval(mode='fast', first_layer='hull')"
    assert graph("conv").input_shape == SHAPE


@pytest.mark.data
@pytest.mark.parametrize(
    ("box", "unstable", "off"),
    [(None, (68, 883, 15), (2227, 407, 85)), ((0.0, 1.0), (59, 671, 11), (2235, 529, 89))],
)
def test_stable_units_of_the_published_mnist_network(box, unstable, off, data_dir):
    """Mean counts over 200 test images at linf 0.1, as other interval code measured the unstable.

    The units that are off in the first layer were measured as well: 2227 and 2235.
    """
    layers = [nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10)]
    model = nn.Sequential(*layers)
    model.load_state_dict(load_file(data_dir / "models" / "mnist_conv_dual_linf0.1.safetensors"))
    images = gzip.decompress((data_dir / "MNIST/raw/t10k-images-idx3-ubyte.gz").read_bytes())
    x = torch.frombuffer(bytearray(images), dtype=torch.uint8, offset=16).view(-1, 1, 28, 28)
    x = x[:200].double() / 255
    captured = capture(model, (1, 28, 28))
    with torch.no_grad():
        hull = hull_box(Linf(0.1, box=box), x, rigorous=True)
        found = boxes(captured, hull, rigorous=True)
    before = [node.inputs[0] for node in captured.nodes if isinstance(node.op, ReLU)]
    for place, mean, zero in zip(before, unstable, off, strict=True):
        lower, upper = found[place]
        count = ((lower < 0) & (upper > 0)).flatten(1).sum(1).double().mean().item()
        assert count == pytest.approx(mean, abs=0.51)
        count = (upper <= 0).flatten(1).sum(1).double().mean().item()
        assert count == pytest.approx(zero, abs=0.51)
