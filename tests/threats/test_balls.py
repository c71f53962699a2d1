import math

import pytest
import torch

from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent, norm
from holdfast.threats import L1, L2, Linf

torch.set_num_threads(1)
KINDS = (Linf, L2, L1)
B, EVENT = 3, (2, 5, 4)
kinds = pytest.mark.parametrize("kind", KINDS)


def test_project_uses_the_geometry_of_its_class():
    far, x = torch.tensor([[3.0, -4.0]]), torch.zeros(1, 2)
    expected = {Linf: [2.5, -2.5], L2: [1.5, -2.0], L1: [0.75, -1.75]}
    for kind, point in expected.items():
        torch.testing.assert_close(kind(2.5, box=None).project(far, x), torch.tensor([point]))


def test_clip_is_the_published_order_and_exact_the_nearest_point():
    x = torch.tensor([[0.9, 0.5, 0.5]])
    far = x + torch.tensor([[0.5, 0.3, -0.2]])
    for kind in (L2, L1):
        ball = kind(0.3, box=None).project(far, x)
        clipped = kind(0.3, projection="clip").project(far, x)
        torch.testing.assert_close(clipped, ball.clamp(0, 1))
        nearest = kind(0.3).project(far, x)
        assert norm(far - nearest, 2) < norm(far - clipped, 2) - 0.01


@kinds
def test_steepest_gains_the_dual_norm_with_one_length_per_example(kind):
    g = Keys.of(0, range(B)).normal(EVENT).double()
    length = torch.tensor([0.1, 2.0, 7.0]).double()
    v = kind(0.3).steepest(g, length)
    gain = (g * v).flatten(1).sum(1)
    torch.testing.assert_close(gain, length * norm(g, dual_exponent(kind.p)))


@kinds
def test_one_step_of_length_reach_attains_the_support(kind):
    """From the centre, without a box; for numbers, per example and per feature."""
    x = Keys.of(1, range(B)).uniform(EVENT).double()
    g = Keys.of(0, range(B)).normal(EVENT).double()
    weights = Keys.of(2, range(B)).uniform(EVENT, low=0.1, high=2.0).double()
    for radius in (0.4, torch.tensor([0.1, 0.2, 0.5]).double(), weights[0], weights):
        threat = kind(radius, box=None)
        point = x + threat.steepest(g, threat.reach)
        assert threat.contains(point, x).all()
        value = (g * point).flatten(1).sum(1)
        torch.testing.assert_close(value, threat.support(g.unsqueeze(1), x).squeeze(1))


@kinds
def test_samples_are_those_of_the_key_whatever_the_batch(kind):
    threat, keys = kind(0.4), Keys.of(5, range(B))
    x = Keys.of(1, range(B)).uniform(EVENT)
    start = threat.sample(x, keys=keys)
    order = torch.tensor([2, 0, 1])
    assert torch.equal(threat.sample(x[order], keys=keys[order]), start[order])
    assert torch.equal(threat.sample(x, keys=keys), start)
    steps = torch.tensor([0, 1, 0])
    other = threat.sample(x, keys=keys, step=steps)
    assert [torch.equal(a, b) for a, b in zip(other, start, strict=True)] == [True, False, True]


@kinds
def test_sizes_of_samples_have_the_stated_distribution(kind):
    """Linf: each feature uniform; L2, L1: the size uniform, the direction without bias.

    Kolmogorov distance of 2000 values, false-alarm rate below 1e-3 at 0.044; the keys are fixed.
    """
    count, radius = 2000, 0.3
    x = torch.full((count, 7), 0.5)
    move = kind(radius).sample(x, keys=Keys.of(0, range(count))) - x
    shares = (move[:, 0] / radius + 1) / 2 if kind is Linf else kind(1.0).size(move, 0 * x) / radius
    ranks = torch.arange(1, count + 1) / count
    assert (shares.sort().values - ranks).abs().max() < 0.044
    assert (move.mean(0).abs() < 4 * move.std(0) / math.sqrt(count)).all()
    other = move[:, :1] * move[:, 1:]
    assert (other.mean(0).abs() < 4 * other.std(0) / math.sqrt(count)).all()


def test_the_l1_start_is_uniform_on_the_sphere():
    """The largest coordinate's share of a Laplace direction: of n = 2 it is uniform on [1/2, 1]."""
    count = 2000
    x = torch.full((count, 2), 0.5)
    move = (L1(0.3).sample(x, keys=Keys.of(0, range(count))) - x).double()
    share = move.abs().amax(1) / move.abs().sum(1)
    ranks = torch.arange(1, count + 1) / count
    assert ((2 * share - 1).sort().values - ranks).abs().max() < 0.044


def test_random_start_and_step_have_the_published_moments():
    """E[s d] = a - a^2 / (4 eps) and P(boundary) = a / (2 eps) (Wong 2020, sec 4.1.1, derived)."""
    eps, count = 0.1, 40_000
    x = torch.full((1, count), 0.5).double()
    threat = Linf(eps)
    start = threat.sample(x, keys=Keys.of(0, [0]))
    sign = Keys.of(1, [0]).sign((count,)).double()
    for factor in (0.5, 1.0, 1.25, 2.0):
        a = factor * eps
        move = (threat.project(start + threat.steepest(sign, a), x) - x) * sign
        assert move.mean().item() == pytest.approx(a - a**2 / (4 * eps), abs=0.002 * eps * 4)
        hit = (move > eps * (1 - 1e-6)).double().mean().item()
        assert hit == pytest.approx(a / (2 * eps), abs=0.01)


@pytest.mark.gpu
@kinds
def test_cuda_agrees_with_the_cpu(kind):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x, g = Keys.of(1, range(B)).uniform(EVENT), Keys.of(0, range(B)).normal(EVENT)
    for radius in (0.4, torch.tensor([0.1, 0.2, 0.5])):
        threat = kind(radius)
        there = threat.project((x + g).cuda(), x.cuda())
        torch.testing.assert_close(there.cpu(), threat.project(x + g, x), atol=1e-6, rtol=0)
        start = threat.sample(x.cuda(), keys=Keys.of(0, range(B), device="cuda"))
        torch.testing.assert_close(
            start.cpu(), threat.sample(x, keys=Keys.of(0, range(B))), atol=1e-6, rtol=0
        )
