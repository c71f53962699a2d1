"""SimBA: its directions, its order, its greed."""

import pytest
import torch

from holdfast.attacks.simba import SimBA
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


@pytest.mark.parametrize("basis", ["dct", "pixel"])
def test_directions_are_an_orthonormal_basis(basis):
    like = torch.zeros(84, 2, 7, 6, dtype=torch.float64)
    q = SimBA(basis=basis).direction(torch.arange(84), like).flatten(1)
    assert torch.allclose(q @ q.T, torch.eye(84, dtype=torch.float64), atol=1e-12)


def test_low_frequencies_come_first_in_rings():
    ranks = SimBA(freq_dims=2, stride=3).ranks((2, 7, 6), torch.zeros(1)).view(2, 7, 6)
    assert bool((ranks[:, :2, :2] == 0).all())
    assert ranks[0, 2:5, 0].tolist() == [1, 1, 1]
    assert ranks[1, 0].tolist() == [0, 0, 1, 1, 1, 2]
    assert float(ranks.max()) == 2
    only = SimBA(freq_dims=2, order="random").ranks((2, 7, 6), torch.zeros(1))
    assert int(only.isfinite().sum()) == 8


@pytest.mark.parametrize("order", ["strided", "random"])
def test_takes_the_better_side_of_every_pixel_of_a_linear_model(order):
    w = torch.tensor([0.4, -1.0, 0.3, 2.0, -0.7])
    model = torch.nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([5.0, -5.0]))
    x, y = torch.full((3, 5), 0.5), torch.zeros(3, dtype=torch.int64)
    attack = SimBA(queries=11, basis="pixel", order=order, step_size=0.05)
    result = attack.run(FrozenModel(model, block=3), x, y, Linf(0.05), keys=Keys.of(0, range(3)))
    assert torch.allclose(result.x_adv, x - 0.05 * w.sign(), atol=1e-6)
    assert result.forwards.tolist() == [12] * 3


def test_goes_on_along_the_surface_when_the_radius_is_used_up():
    net = small_net()
    x, y = examples(5, net)
    frozen = FrozenModel(net, block=3)
    short = SimBA(queries=30, step_size=0.2).run(frozen, x, y, L2(0.2))
    long = SimBA(queries=150, step_size=0.2).run(frozen, x, y, L2(0.2))
    assert bool((long.size <= 0.2 + 1e-6).all())
    assert bool((long.loss >= short.loss)[~short.success].all())
    assert bool((long.loss > short.loss).any())


def test_finds_what_is_easy_to_find():
    net = small_net()
    x, y = examples(5, net)
    for attack in (SimBA(queries=200), SimBA(queries=200, basis="pixel", order="random")):
        assert int(attack.run(FrozenModel(net, block=3), x, y, Linf(0.3)).success.sum()) >= 4
