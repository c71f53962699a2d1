"""FAB: closed forms on linear models, the update by hand, starts, targets, passes."""

import math

import pytest
import torch

from holdfast.attacks.fab import FAB
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.core.tensors import norm
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net

BALLS = {math.inf: Linf, 2.0: L2, 1.0: L1}
MODES = ("none", "multi")


def run(attack, net, x, y, threat, block=8, **options):
    frozen = FrozenModel(net, block=block)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


@pytest.mark.parametrize("p", BALLS)
@pytest.mark.parametrize("targeting", MODES)
def test_finds_the_distance_of_a_linear_model(p, targeting):
    world = LinearWorld.make(0, classes=5, features=12)
    x, y = world.sample(1, 9, mistakes=0.0)
    attack = FAB(steps=20, targeting=targeting)
    result = run(attack, world.module(), x, y, BALLS[p](math.inf, box=None))
    exact = world.smallest_radius(x, y, p).float()
    assert bool(result.success.all())
    assert bool((result.size >= exact * (1 - 1e-5)).all())
    assert bool((result.size <= exact * 1.01).all())


@pytest.mark.parametrize("p", BALLS)
@pytest.mark.slow
def test_respects_and_reaches_the_optimum_where_the_box_is_active(p):
    world = LinearWorld.make(2, classes=4, features=15)
    x, y = world.sample(3, 11, inset=0.0, mistakes=0.0)
    x = (x * 1.6 - 0.3).clamp(0, 1)
    y = world.logits(x).argmax(1)
    result = run(FAB(steps=50, targeting="multi"), world.module(), x, y, BALLS[p](math.inf))
    size, box = result.size.double(), (0.0, 1.0)
    assert bool(result.success.all())
    free = world.smallest_radius(x, y, p)
    assert int((size > 1.02 * free).sum()) > 1
    assert bool((world.exact_margin(x, y, p, size, box) < 1e-5).all())
    assert bool((world.exact_margin(x, y, p, size / 1.01, box) > 0).all())


def by_hand(net, x, y, target, steps, alpha_max=0.1, eta=1.05, beta=0.9):
    """The published update towards one class, for L2 without a box; the smallest success."""
    point, best = x.clone(), math.inf
    for _ in range(steps):
        point.requires_grad_(True)
        logits = net(point)
        gap = logits[0, target] - logits[0, y]
        (slope,) = torch.autograd.grad(gap, point)
        point, gap = point.detach(), gap.detach()
        unit = slope / slope.square().sum()
        there = -gap * unit
        from_clean = -(gap + (slope * (x - point)).sum()) * unit
        a, b = there.norm(), from_clean.norm()
        alpha = min(float(a / (a + b)), alpha_max)
        point = (1 - alpha) * (point + eta * there) + alpha * (x + eta * from_clean)
        if int(net(point).argmax()) != int(y):
            best = min(best, float((point - x).norm()))
            point = x + beta * (point - x)
    return best


def test_sizes_equal_the_published_update():
    net = small_net()
    x, y = examples(6, net)
    result = run(FAB(steps=15, targeting="multi"), net, x, y, L2(math.inf, box=None))
    for i in range(6):
        wrong = [k for k in range(5) if k != int(y[i])]
        sizes = [by_hand(net, x[i : i + 1], y[i], k, 15) for k in wrong]
        assert float(result.size[i]) == pytest.approx(min(sizes), rel=1e-4)


def test_the_nearest_of_all_boundaries_is_as_good_as_any_target_on_a_linear_model():
    world = LinearWorld.make(5, classes=7, features=10)
    x, y = world.sample(6, 8, mistakes=0.0)
    few = FAB(steps=6, most_classes=2)
    every = FAB(steps=6)
    sizes = [run(each, world.module(), x, y, L2(math.inf)).size for each in (few, every)]
    assert bool((sizes[1] <= sizes[0] * 1.01).all())


@pytest.mark.parametrize("targeting", MODES)
def test_a_finite_radius_holds_what_the_infinite_one_found_inside(targeting):
    net = small_net()
    x, y = examples(13, net)
    attack = FAB(steps=8, targeting=targeting)
    free = run(attack, net, x, y, Linf(math.inf))
    eps = float(free.size.median())
    bound = run(attack, net, x, y, Linf(eps))
    assert bool(bound.success[free.size <= eps].all())
    assert bool((bound.size <= eps + 1e-6).all())
    assert bool((bound.forwards <= free.forwards).all())
    assert int(bound.forwards.sum()) < int(free.forwards.sum())


def test_passes_are_two_forwards_and_a_backward_per_class_needed():
    net = small_net()
    x, y = examples(5, net, wrong=1)
    far = Linf(math.inf)
    multi = run(FAB(steps=7, targeting="multi", most_targets=3), net, x, y, far)
    assert multi.backwards.tolist() == [0] + [3 * 7] * 4
    assert multi.forwards.tolist() == [1] + [1 + 3 * (2 * 7 + 1) + 1] * 4
    every = run(FAB(steps=7), net, x, y, far)
    assert every.backwards.tolist() == [0] + [5 * 7] * 4
    few = run(FAB(steps=7, most_classes=2, restarts=2), net, x, y, far)
    assert few.backwards.tolist() == [0] + [2 * 3 * 7] * 4
    assert multi.outcome[0] == Outcome.MISCLASSIFIED


def test_restarts_never_hurt():
    net = small_net()
    x, y = examples(7, net)
    for threat in (Linf(math.inf), L2(math.inf), L1(math.inf)):
        one, three = (run(FAB(steps=2, restarts=r), net, x, y, threat) for r in (1, 3))
        assert bool((three.size <= one.size).all())
        assert torch.equal(three.backwards, 3 * one.backwards)


@pytest.mark.parametrize(
    ("threat", "length"),
    [
        (Linf(0.2, box=None), 0.1),
        (L2(0.2, box=None), 0.1),
        (L1(0.2, box=None), 0.1),
        (L2(math.inf, box=None), 0.5),
        (Linf(torch.tensor([0.2, 0.4, math.inf]), box=None), (0.1, 0.2, 0.15)),
    ],
)
def test_random_starts_lie_at_half_the_start_radius(threat, length):
    starts = []

    class Recording(FAB):
        def begin(self, rows):
            start = super().begin(rows)
            starts.append((rows.run, norm(start - rows.origin, rows.threat.p)))
            return start

    net = small_net()
    x, y = examples(3, net)
    run(Recording(steps=1, restarts=2), net, x, y, threat, block=3)
    expected = torch.as_tensor(length).expand(3)
    for index, found in starts:
        assert torch.allclose(found, torch.where(index > 0, expected, 0.0), atol=1e-6)
    assert {int(r) for index, _ in starts for r in index} == {0, 1}


@pytest.mark.parametrize("targeting", MODES)
def test_a_given_target_is_reached(targeting):
    net = small_net()
    x, y = examples(7, net)
    targets = (y + 1 + torch.arange(7) % 4) % 5
    attack = FAB(steps=40, targeting=targeting)
    result = run(attack, net, x, y, L2(math.inf), targets=targets)
    assert bool(result.success.all())
    with torch.no_grad():
        assert torch.equal(net(result.x_adv).argmax(1), targets)
    assert result.backwards.tolist() == [40] * 7


def test_answers_do_not_depend_on_neighbours_or_order():
    net = small_net()
    x, y = examples(7, net)
    order = torch.tensor([5, 2, 6, 0])
    for threat in (Linf(0.05), L1(math.inf)):
        attack = FAB(steps=6, restarts=2)
        all_of_them = run(attack, net, x, y, threat, block=3)
        frozen = FrozenModel(net, block=3)
        some = attack.run(frozen, x[order], y[order], threat, keys=Keys.of(0, order))
        assert torch.equal(all_of_them.x_adv[order], some.x_adv)


def test_a_start_may_be_adversarial_already():
    net = small_net()
    x, y = examples(6, net)
    far = run(FAB(steps=3), net, x, y, L2(math.inf))
    near = run(FAB(steps=3), net, x, y, L2(math.inf), start=far.x_adv)
    assert bool((near.size <= far.size * (1 + 1e-6)).all())


def test_what_does_not_fit_is_refused():
    for bad in ({"beta": 1.0}, {"eta": 0.9}, {"alpha_max": 1.5}, {"start_radius": 0.0}):
        with pytest.raises(InputError):
            FAB(**bad)
