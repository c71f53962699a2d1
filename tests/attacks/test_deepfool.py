"""DeepFool: closed forms on linear models, the update by hand, candidates, when it stops."""

import math

import pytest
import torch

from holdfast.attacks.deepfool import DeepFool
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net

BALLS = {math.inf: Linf, 2.0: L2, 1.0: L1}


def run(attack, net, x, y, threat, block=8, **options):
    frozen = FrozenModel(net, block=block)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


@pytest.mark.parametrize("p", BALLS)
def test_oversteps_the_distance_of_a_linear_model_by_the_overshoot_in_one_step(p):
    world = LinearWorld.make(0, classes=5, features=12)
    x, y = world.sample(1, 9, mistakes=0.0)
    result = run(DeepFool(), world.module(), x, y, BALLS[p](math.inf, box=None))
    exact = world.smallest_radius(x, y, p).float()
    assert bool(result.success.all())
    assert torch.allclose(result.size, 1.02 * (exact + 1e-4), rtol=1e-4)
    assert result.backwards.tolist() == [2 * 5] * 9
    bare = run(DeepFool(overshoot=0.0), world.module(), x, y, BALLS[p](math.inf, box=None))
    assert bool((bare.size >= exact * (1 - 1e-5)).all())
    assert bool((bare.size <= exact * 1.01 + 1e-4).all())


@pytest.mark.parametrize("p", BALLS)
def test_is_never_below_the_optimum_where_the_box_is_active(p):
    world = LinearWorld.make(2, classes=4, features=15)
    x, _ = world.sample(3, 11, inset=0.0)
    x = (x * 1.6 - 0.3).clamp(0, 1)
    y = world.logits(x).argmax(1)
    result = run(DeepFool(), world.module(), x, y, BALLS[p](math.inf))
    assert bool(result.success.all())
    assert bool((result.size > 1.03 * world.smallest_radius(x, y, p)).any())
    margin = world.exact_margin(x, y, p, result.size.double(), (0.0, 1.0))
    assert bool((margin < 1e-5).all())


def by_hand(net, x, y, steps, overshoot, p):
    """The published loop on one example, clipped; the first adversarial iterate."""
    point = x.clone()
    for _ in range(steps):
        point = point.detach().requires_grad_(True)
        logits = net(point)[0]
        if int(logits.argmax()) != int(y):
            break
        best = (math.inf, None)
        for k in range(len(logits)):
            if k != int(y):
                (slope,) = torch.autograd.grad(logits[k] - logits[y], point, retain_graph=True)
                length = slope.norm() if p == 2 else slope.abs().sum()
                distance = float((logits[y] - logits[k]).detach() / length)
                best = min(best, (distance, slope), key=lambda each: each[0])
        distance, slope = best
        unit = slope / slope.norm() if p == 2 else slope.sign()
        point = (point.detach() + (1 + overshoot) * (distance + 1e-4) * unit).clamp(0, 1)
    return point.detach()


@pytest.mark.parametrize("p", [math.inf, 2.0])
def test_iterates_equal_the_published_update(p):
    net = small_net()
    x, y = examples(6, net)
    result = run(DeepFool(overshoot=0.05), net, x, y, BALLS[p](math.inf))
    assert bool(result.success.all())
    for i in range(6):
        expected = by_hand(net, x[i : i + 1], y[i], 50, 0.05, p)
        assert torch.allclose(result.x_adv[i], expected[0], atol=1e-5)


def test_stops_soon_after_the_first_adversarial_iterate():
    net = small_net()
    x, y = examples(8, net)
    free = run(DeepFool(), net, x, y, L2(math.inf))
    assert int(free.backwards.max()) < 20 * 5
    inside = run(DeepFool(), net, x, y, L2(float(free.size.median())))
    assert torch.equal(inside.success, free.size <= float(free.size.median()) + 1e-6)


def test_candidates_bound_the_gradients():
    net = small_net()
    x, y = examples(5, net)
    every = run(DeepFool(steps=1), net, x, y, L2(math.inf))
    assert every.backwards.tolist() == [5] * 5
    few = run(DeepFool(steps=1, candidates=3), net, x, y, L2(math.inf))
    assert few.backwards.tolist() == [3] * 5
    looks = {1 + 1 + confirmed for confirmed in (0, 1)}
    assert {int(f) - 1 for f in every.forwards} <= looks
    assert {int(f) - 2 for f in few.forwards} <= looks


def test_a_given_target_is_reached():
    net = small_net()
    x, y = examples(7, net)
    targets = (y + 1 + torch.arange(7) % 4) % 5
    result = run(DeepFool(), net, x, y, Linf(math.inf), targets=targets)
    assert bool(result.success.all())
    with torch.no_grad():
        assert torch.equal(net(result.x_adv).argmax(1), targets)
