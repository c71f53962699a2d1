"""Linearised boundaries: the nearest class by definition, rivals, which threats fit."""

import math

import pytest
import torch

from holdfast.attacks.deepfool import DeepFool
from holdfast.attacks.fab import FAB
from holdfast.attacks.linearised import all_rivals, leading_rivals, nearest_boundary
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.tensors import dual_exponent
from holdfast.threats import L2, Linf
from nets import examples, small_net


@pytest.mark.parametrize("p", [math.inf, 2.0, 1.0])
def test_the_nearest_boundary_is_the_least_gap_over_dual_norm(p):
    net = small_net()
    x, y = examples(6, net)
    with FrozenModel(net) as frozen:
        logits, gap, slope = nearest_boundary(frozen, x, y, all_rivals(y, 5), p)
    assert torch.allclose(logits, net(x), atol=1e-5)
    for i in range(6):
        found = []
        for k in set(range(5)) - {int(y[i])}:
            point = x[i : i + 1].clone().requires_grad_(True)
            z = net(point)[0]
            (g,) = torch.autograd.grad(z[k] - z[y[i]], point)
            g, value = g[0], float((z[k] - z[y[i]]).detach())
            length = torch.linalg.vector_norm(g, ord=dual_exponent(p))
            found.append((abs(value) / float(length), value, g))
        _, value, g = min(found, key=lambda each: each[0])
        assert float(gap[i]) == pytest.approx(value, rel=1e-4)
        assert torch.allclose(slope[i], g, atol=1e-5)


def test_rivals_leave_out_the_label_and_start_with_the_largest():
    logits = torch.tensor([[5.0, 1, 3, 2], [0, 4, 1, 9], [7, 2, 0, 1]])
    y = torch.tensor([0, 3, 1])
    assert leading_rivals(logits, y, 2).tolist() == [[2, 3], [1, 2], [0, 3]]
    assert leading_rivals(logits, y, 8).shape == (3, 3)
    assert all_rivals(y, 4).sort(dim=1).values.tolist() == [[1, 2, 3], [0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize("attack", [FAB(steps=2), DeepFool(steps=2)])
def test_threats_that_do_not_fit_are_refused_by_name(attack):
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(UnsupportedThreat, match="per feature"):
        attack.run(net, x, y, Linf(torch.full((1, 2, 7, 6), 0.1)))

    class Other:
        box = (0.0, 1.0)
        radius = 1.0

    with pytest.raises(UnsupportedThreat, match=type(attack).__name__):
        attack.run(net, x, y, Other())


@pytest.mark.parametrize("attack", [FAB(steps=4), DeepFool(steps=4)])
def test_perturb_is_the_last_iterate_of_a_whole_batch(attack):
    net = small_net()
    x, y = examples(5, net)
    with FrozenModel(net) as frozen, torch.no_grad():
        moved = attack.perturb(frozen, x, y, L2(math.inf), keys=Keys.of(0, range(5)))
    assert moved.shape == x.shape
    assert bool((moved != x).flatten(1).any(1).all())
    assert bool(((moved >= 0) & (moved <= 1)).all())


def test_a_larger_gap_may_be_nearer():
    model = torch.nn.Linear(2, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 8.0]]))
        model.bias.copy_(torch.tensor([0.0, -1.0, -2.0]))
    x, y = torch.zeros(1, 2), torch.tensor([0])
    with FrozenModel(model) as frozen:
        _, gap, slope = nearest_boundary(frozen, x, y, all_rivals(y, 3), 2.0)
    assert gap.tolist() == [-2.0]
    assert slope.tolist() == [[0.0, 8.0]]
