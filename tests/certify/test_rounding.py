"""Rigorous bounds against exact rational arithmetic."""

import itertools
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import torch
from torch import nn

from certify.nets import Hull, inputs
from holdfast.certify import Interval, capture, certified
from holdfast.certify.bounds.interval import bound_rows, boxes
from holdfast.certify.rounding import Box, plain_kernels, radius, tiny, unit, widened


def trap(big: float, dtype: torch.dtype) -> nn.Module:
    """relu(x + big) - relu(0 x + 1/2) - big, whose minimum over [-1, 1] is -3/2."""
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).to(dtype)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [0.0]]))
        model[0].bias.copy_(torch.tensor([big, 0.5], dtype=dtype))
        model[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
        model[2].bias.copy_(torch.tensor([-big], dtype=dtype))
    return model


@pytest.mark.parametrize(
    ("big", "dtype"), [(2.0**24, torch.float32), (2.0**53, torch.float64), (1e300, torch.float64)]
)
def test_the_trap_is_not_certified(big, dtype):
    model = trap(big, dtype)
    x = torch.zeros(1, 1, dtype=dtype)
    bounds = Interval().bound(model, x, Hull(1.0), torch.eye(1))
    assert bounds.lower.item() <= -1.5
    assert bounds.upper.item() >= 0.5
    shifted = nn.Sequential(model, nn.Linear(1, 1).to(dtype))
    with torch.no_grad():
        shifted[1].weight.fill_(1.0)
        shifted[1].bias.fill_(1.5)
    assert not certified(Interval().bound(shifted, x, Hull(1.0), torch.eye(1)))
    if big == 2.0**24:
        with torch.no_grad():
            assert model(x - 1).item() == -2.0  # what the float32 network itself says
        assert bounds.lower.item() > -1.5 - 1e-6
        with torch.no_grad():
            shifted[1].bias.fill_(1.5 + 1e-5)
        assert certified(Interval().bound(shifted, x, Hull(1.0), torch.eye(1)))


def test_the_fast_mode_falls_into_the_trap():
    x = torch.zeros(1, 1)
    fast = Interval(mode="fast").bound(trap(2.0**24, torch.float32), x, Hull(1.0), torch.eye(1))
    assert fast.lower.item() > -1.5 or fast.upper.item() < 0.5
    assert not fast.sound


def _exact(values) -> list:
    return [Fraction(value) for value in values]


def _exact_affine(weight, bias, lower, upper):
    """[W l, W u] over the box, over the rationals; weight and bias lists of Fraction."""
    low, high = [], []
    for row, shift in zip(weight, bias, strict=True):
        pairs = list(zip(row, lower, upper, strict=True))
        low.append(shift + sum(w * (lo if w > 0 else hi) for w, lo, hi in pairs))
        high.append(shift + sum(w * (hi if w > 0 else lo) for w, lo, hi in pairs))
    return low, high


def _exact_interval(model, lower, upper, rows):
    """Interval bounds of rows @ model over the rationals, the last layer merged."""
    linears = [module for module in model if isinstance(module, nn.Linear)]
    for linear in linears[:-1]:
        weight = [_exact(row) for row in linear.weight.tolist()]
        lower, upper = _exact_affine(weight, _exact(linear.bias.tolist()), lower, upper)
        lower, upper = [max(v, Fraction(0)) for v in lower], [max(v, Fraction(0)) for v in upper]
    weight = [_exact(row) for row in linears[-1].weight.tolist()]
    bias, spec = _exact(linears[-1].bias.tolist()), [_exact(row) for row in rows.tolist()]
    merged = [
        [sum(s * w[j] for s, w in zip(row, weight, strict=True)) for j in range(len(weight[0]))]
        for row in spec
    ]
    shift = [sum(s * b for s, b in zip(row, bias, strict=True)) for row in spec]
    return _exact_affine(merged, shift, lower, upper)


def test_bounds_enclose_exact_rational_interval_bounds():
    """Weights of float64 whose magnitudes spread over 2^40, so that sums cancel and round.

    One capture serves all networks, as the graph reads the live weights.
    """
    model = nn.Sequential(
        nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    ).double()
    captured = capture(model, (3,))
    rows = torch.tensor([[1.0, -1.0], [0.3, 0.7]], dtype=torch.float64)
    for seed, scale in itertools.product(range(10), (1.0, 1e6, 1e-6)):
        _spread_weights(model, seed, scale)
        x = inputs(1, (3,), seed=seed)
        lo, hi = x - 0.25, x + 0.25
        with torch.no_grad():
            box = bound_rows(captured, Box(lo, hi), rows, rigorous=True)
        low, high = _exact_interval(model, _exact(lo[0].tolist()), _exact(hi[0].tolist()), rows)
        for found, exact in zip(box.lower[0].tolist(), low, strict=True):
            assert Fraction(found) <= exact
        for found, exact in zip(box.upper[0].tolist(), high, strict=True):
            assert Fraction(found) >= exact
        size = max(abs(float(each)) for each in (*low, *high))
        assert float(low[0]) - box.lower[0, 0].item() < 1e-8 * size


def _spread_weights(model, seed, scale):
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            u = inputs(2, tuple(tensor.shape), seed=100 * seed + index)
            tensor.copy_(scale * (u[0] - 0.5) * torch.exp2((40 * u[1]).round() - 20))


def test_unwidened_bounds_miss_the_exact_ones():
    """The comparison above has teeth: without the radius it fails on some of its networks."""
    linear, missed = nn.Linear(9, 3).double(), 0
    captured = capture(nn.Sequential(linear, nn.ReLU()), (9,))
    for seed in range(8):
        with torch.no_grad():
            linear.weight.copy_(inputs(1, (3, 9), seed=seed)[0] - 0.5)
        x = inputs(1, (9,), seed=seed + 50)
        weight = [_exact(row) for row in linear.weight.tolist()]
        ends = _exact(x[0].tolist())
        low, _ = _exact_affine(weight, _exact(linear.bias.tolist()), ends, ends)
        for rigorous in (True, False):
            box = boxes(captured, Box(x, x), rigorous=rigorous)[1]
            below = [Fraction(f) <= e for f, e in zip(box.lower[0].tolist(), low, strict=True)]
            missed += 0 if rigorous else below.count(False)
            assert all(below) or not rigorous
    assert missed > 0


def test_folded_batch_norm_encloses_eighty_digits():
    """scale x + shift with a mean that nearly cancels the bias times the scale."""
    norm = nn.BatchNorm1d(3).double().eval()
    with torch.no_grad():
        norm.running_mean.copy_(torch.tensor([1e8, -3e7, 0.1]))
        norm.running_var.copy_(torch.tensor([1e-9, 2.0, 1e12]))
        norm.weight.copy_(torch.tensor([0.7, -1.3, 1e-3]))
        norm.bias.copy_(norm.running_mean * norm.weight / (norm.running_var + norm.eps).sqrt())
    captured = capture(nn.Sequential(norm, nn.ReLU()), (3,))
    x = torch.tensor([[1e-3, 0.2, -0.3]], dtype=torch.float64)
    box = boxes(captured, Box(x, x), rigorous=True)[1]
    with localcontext() as context:
        context.prec = 80
        for i in range(3):
            mean, variance, weight, bias, value, eps = (
                Decimal(each if isinstance(each, float) else each.item())
                for each in (
                    norm.running_mean[i],
                    norm.running_var[i],
                    norm.weight[i],
                    norm.bias[i],
                    x[0, i],
                    norm.eps,
                )
            )
            exact = weight * (value - mean) / (variance + eps).sqrt() + bias
            assert Decimal(box.lower[0, i].item()) <= exact <= Decimal(box.upper[0, i].item())


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.AvgPool1d(3, padding=1),
        lambda: nn.AdaptiveAvgPool1d(2),
        lambda: nn.Conv1d(2, 3, 2, dilation=2, padding=1),
    ],
)
def test_pooling_and_convolution_enclose_exact_sums(layer):
    """The interval of a linear layer at a point, against the same layer over the rationals."""
    module = layer().double()
    with torch.no_grad():
        for index, tensor in enumerate(module.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    captured = capture(nn.Sequential(module, nn.ReLU()), (2, 7))
    x = inputs(1, (2, 7), seed=3) * torch.exp2(torch.arange(-3.0, 4.0).double() * 5)
    box = boxes(captured, Box(x, x), rigorous=True)[1]
    exact = _exact_layer(module, [_exact(row) for row in x[0].tolist()])
    for channel, values in enumerate(exact):
        for place, value in enumerate(values):
            assert Fraction(box.lower[0, channel, place].item()) <= value
            assert Fraction(box.upper[0, channel, place].item()) >= value


def _exact_layer(module, x):
    if isinstance(module, nn.Conv1d):
        padded = [[Fraction(0), *row, Fraction(0)] for row in x]
        weight = [[_exact(taps) for taps in row] for row in module.weight.tolist()]
        bias = _exact(module.bias.tolist())
        return [
            [
                b + sum(w[c][t] * padded[c][p + 2 * t] for c in range(2) for t in range(2))
                for p in range(len(padded[0]) - 2)
            ]
            for w, b in zip(weight, bias, strict=True)
        ]
    if isinstance(module, nn.AvgPool1d):
        padded = [[Fraction(0), *row, Fraction(0)] for row in x]
        return [[sum(row[i : i + 3]) / 3 for i in range(0, len(row) - 2, 3)] for row in padded]
    return [[sum(row[:4]) / 4, sum(row[3:]) / 4] for row in x]


def test_the_radius_grows_with_terms_and_magnitude_and_covers_underflow():
    one = torch.ones(1, dtype=torch.float64)
    assert radius(1, one).item() >= 2.0**-53 * 9
    assert radius(100, one).item() > radius(10, one).item()
    assert radius(10, 3 * one).item() == pytest.approx(3 * radius(10, one).item())
    assert radius(1, 0 * one).item() > 0
    box = widened(Box(one, one), 5, one)
    assert box.lower < 1 < box.upper
    assert Box(-2 * one, one).magnitude.item() == 2


@pytest.mark.parametrize("wanted", [True, False])
def test_cudnn_is_off_for_the_while_and_given_back(wanted):
    before = torch.backends.cudnn.enabled
    seen = []

    def failing():
        with plain_kernels(wanted):
            seen.append(torch.backends.cudnn.enabled)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert seen == [before and not wanted]
    assert torch.backends.cudnn.enabled == before


def test_the_units_of_both_precisions():
    for dtype in (torch.float32, torch.float64):
        limits = torch.finfo(dtype)
        assert unit(dtype) == limits.eps / 2
        assert tiny(dtype) == limits.tiny


def test_float32_products_keep_their_digits():
    """Neither autocast nor a lower precision of products reaches into the block."""
    backend, before = torch.backends.mkldnn.matmul, torch.backends.mkldnn.matmul.fp32_precision
    try:
        backend.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16), plain_kernels(True):
            assert backend.fp32_precision == "ieee"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert backend.fp32_precision == "bf16"
        with plain_kernels(False):
            assert backend.fp32_precision == "bf16"
    finally:
        backend.fp32_precision = before
