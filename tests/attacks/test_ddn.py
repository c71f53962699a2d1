"""DDN: the distance to a plane, the box, levels, starts, targets, threats."""

import math

import pytest
import torch

from holdfast.attacks.ddn import DDN, check_norm, cosine, farthest
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=3)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


def world():
    flat = LinearWorld.make(1, 2, 13)
    x, _ = flat.sample(0, 5)
    return flat, x, flat.logits(x).argmax(1)


def test_finds_the_distance_to_a_plane_and_never_less():
    flat, x, y = world()
    result = run(DDN(), flat.module(), x, y, L2("inf", box=None))
    ratio = result.size / flat.smallest_radius(x, y, 2)
    assert bool(result.success.all())
    assert bool((ratio >= 1 - 1e-5).all())
    assert bool((ratio < 1.02).all())


def test_stays_in_the_box_and_takes_its_levels():
    net = small_net()
    x, y = examples(5, net)
    x = (4 * x).round() / 4
    result = run(DDN(steps=20, levels=5), net, x, y, L2("inf"))
    assert bool(result.success.any())
    assert torch.equal(result.x_adv, ((4 * result.x_adv).round() / 4).clamp(0, 1))
    with pytest.raises(InputError, match="levels"):
        run(DDN(steps=2, levels=5), net, x, y, L2("inf", box=None))


def test_targets_are_reached_and_a_finite_radius_ends_at_a_success_inside():
    net = small_net()
    x, y = examples(5, net)
    targets = (y + 1) % 5
    result = run(DDN(), net, x, y, L2("inf"), targets=targets)
    assert bool(result.success.all())
    assert torch.equal(net(result.x_adv).argmax(1), targets)
    near = run(DDN(), net, x, y, L2(2.0))
    assert bool((near.size[near.success] <= 2.0 + 1e-6).all())
    assert int(near.backwards.sum()) < 5 * 100


def test_begins_at_the_length_of_a_start():
    flat, x, y = world()
    start = x + 3.0 * torch.nn.functional.normalize(torch.ones_like(x))
    result = run(DDN(steps=1), flat.module(), x, y, L2("inf", box=None), start=start)
    assert bool((result.size[result.success] <= 3 * 1.05 + 1e-5).all())


def test_a_vanishing_gradient_gets_a_random_direction():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 2))
    torch.nn.init.zeros_(flat[1].weight)
    x, y = torch.rand(3, 6), flat(torch.zeros(3, 6)).argmax(1)
    assert not bool(run(DDN(steps=4), flat, x, y, L2("inf")).success.any())


def test_refuses_other_threats_and_knows_the_corner():
    x = torch.tensor([[0.1, 0.8]])
    assert torch.allclose(farthest(x, L2(1.0)), torch.tensor([math.hypot(0.9, 0.8)]))
    assert float(farthest(x, L2(1.0, box=None))) == math.inf
    assert cosine(torch.tensor([0, 5]), 10).tolist() == pytest.approx([1.0, 0.5])
    for threat in (Linf(0.1), L1(0.1), L2(torch.ones(1, 2))):
        with pytest.raises(UnsupportedThreat, match="ddn"):
            check_norm(threat, (2.0,), "ddn")
    assert build(DDN, to_dict(DDN(levels=9))) == DDN(levels=9)
