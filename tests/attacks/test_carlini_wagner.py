"""Carlini and Wagner: the distance to a plane, the change of variable, confidence, searches."""

import math

import pytest
import torch

from holdfast.attacks.carlini_wagner import CarliniWagner, derivative, lead, to_input, to_variable
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net

L2_FAST = CarliniWagner(binary_steps=6, iterations=60, learning_rate=0.02, initial_const=0.1)
L2_BARE = CarliniWagner(binary_steps=6, iterations=80, learning_rate=0.01, initial_const=0.1)
LINF_FAST = CarliniWagner(
    binary_steps=8, iterations=40, learning_rate=0.01, initial_const=0.1, decrease=0.97
)


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=3)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


@pytest.mark.parametrize(
    ("attack", "threat"),
    [(L2_FAST, L2("inf")), (LINF_FAST, Linf("inf")), (L2_BARE, L2("inf", box=None))],
)
@pytest.mark.slow
def test_finds_the_distance_to_a_plane_and_never_less(attack, threat):
    flat = LinearWorld.make(1, 2, 13)
    x, _ = flat.sample(0, 40)
    y = flat.logits(x).argmax(1)
    far = flat.smallest_radius(x, y, math.inf).argsort(descending=True)[:5]
    x, y = x[far], y[far]
    result = run(attack, flat.module(), x, y, threat)
    ratio = result.size / flat.smallest_radius(x, y, threat.p)
    assert bool(result.success.all())
    assert bool((ratio >= 1 - 1e-5).all())
    assert float(ratio.median()) < 1.02


@pytest.mark.parametrize("threat", [L2("inf"), Linf("inf")])
def test_box_targets_and_confidence_hold(threat):
    net = small_net()
    x, y = examples(3, net)
    targets = (y + 1) % 5
    attack = CarliniWagner(
        binary_steps=4, iterations=40, learning_rate=0.1, initial_const=1.0, confidence=0.5
    )
    result = run(attack, net, x, y, threat, targets=targets)
    assert bool(result.success.all())
    assert bool((lead(net(result.x_adv), y, targets) >= 0.5 - 1e-5).all())
    assert torch.allclose(result.margin, -lead(net(result.x_adv), y, targets), atol=1e-5)
    assert bool(((result.x_adv >= 0) & (result.x_adv <= 1)).all())


def test_variable_and_input_are_inverse_and_the_slope_is_right():
    x = torch.rand(3, 7, dtype=torch.float64)
    for box in (None, (-1.0, 3.0)):
        w = to_variable(x, box).requires_grad_(True)
        back = to_input(w, box)
        assert torch.allclose(back, x, atol=1e-5)
        assert torch.allclose(torch.autograd.grad(back.sum(), w)[0], derivative(w, box).detach())
    assert bool(to_variable(torch.tensor([[0.0, 1.0]]), (0.0, 1.0)).isfinite().all())


@pytest.mark.parametrize("threat", [L2("inf"), Linf("inf"), L2("inf", box=None)])
def test_neighbours_do_not_matter(threat):
    net = small_net()
    x, y = examples(5, net)
    attack = CarliniWagner(binary_steps=2, iterations=15, learning_rate=0.1, initial_const=1.0)
    one, order = run(attack, net, x, y, threat), torch.tensor([3, 0, 4, 1, 2])
    assert torch.equal(one.x_adv[order], run(attack, net, x[order], y[order], threat).x_adv)


def test_a_stalled_search_gives_way_to_the_next():
    flat = torch.nn.Linear(6, 2)
    torch.nn.init.zeros_(flat.weight)
    x = torch.full((3, 6), 0.5)
    y = flat(x).argmax(1)
    attack = CarliniWagner(binary_steps=3, iterations=50)
    assert run(attack, flat, x, y, L2("inf")).backwards.tolist() == [3 * 6] * 3
    patient = CarliniWagner(binary_steps=3, iterations=50, abort_early=False)
    assert run(patient, flat, x, y, L2("inf")).backwards.tolist() == [150] * 3


def test_a_search_that_runs_out_is_gone_on_with():
    flat = torch.nn.Linear(7, 2)
    with torch.no_grad():
        flat.weight.copy_(torch.stack([torch.zeros(7), torch.ones(7)]))
        flat.bias.copy_(torch.tensor([0.7, 0.0]))  # 0.1 away in each feature
    x, y = torch.zeros(3, 7), torch.zeros(3, dtype=torch.int64)
    attack = CarliniWagner(binary_steps=5, iterations=30, learning_rate=0.01, initial_const=1e-3)
    result = run(attack, flat, x, y, L2("inf", box=None), start=x + 1)  # at most 0.3 a search
    assert bool((result.size < 1.05 * 0.1 * math.sqrt(7)).all())


def test_refuses_l1():
    x, y = examples(3, small_net())
    with pytest.raises(UnsupportedThreat, match="carlini"):
        run(CarliniWagner(), small_net(), x, y, L1(1.0))
