"""One pixel: candidates stay in the threat, an easy pixel is found, neighbours do not matter."""

import pytest
import torch

from holdfast.attacks.one_pixel import OnePixel, _three
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2
from holdfast.threats.l0 import L0
from nets import examples, small_net


def run(attack, net, x, y, threat, index=None):
    keys = Keys.of(0, range(len(x)) if index is None else index)
    return attack.run(FrozenModel(net, block=3), x, y, threat, keys=keys)


def weak_spot(x):
    """Errs where the pixel in row 2, column 4 is bright in both channels."""
    bright = x[:, :, 2, 4].sum(dim=1)
    return torch.stack([1.8 - bright, bright - 1.8], dim=1)


@pytest.mark.slow
def test_the_weak_pixel_is_found():
    x, y = torch.zeros(2, 2, 7, 6), torch.tensor([0, 0])
    result = run(OnePixel(population=60, generations=30), weak_spot, x, y, L0(1, per="pixel"))
    assert result.success.tolist() == [True, True]
    assert result.size.tolist() == [1.0, 1.0]
    assert bool((result.x_adv[:, :, 2, 4] > 0.5).all())


def test_a_feature_is_not_enough_where_two_channels_must_change():
    x, y = torch.zeros(2, 2, 7, 6), torch.tensor([0, 0])
    result = run(OnePixel(population=20, generations=5), weak_spot, x, y, L0(1))
    assert result.success.tolist() == [False, False]
    assert result.forwards.tolist() == [121, 121]


def test_counts_per_example_do_not_disturb_each_other():
    net = small_net()
    x, y = examples(5, net)
    counts, attack = torch.tensor([1.0, 5.0, 0.0, 2.0, 3.0]), OnePixel(population=8, generations=2)
    whole = run(attack, net, x, y, L0(counts, per="pixel"))
    assert bool((whole.size <= counts).all())
    alone = run(attack, net, x[3:4], y[3:4], L0(2, per="pixel"), index=[3])
    assert torch.equal(whole.x_adv[3:4], alone.x_adv)


def test_three_parents_differ():
    first, second, third = _three(Keys.of(0, range(3)), 5)
    assert not bool(((first == second) | (first == third) | (second == third)).any())
    assert int(torch.stack([first, second, third]).max()) == 4


def test_other_threats_are_refused():
    x, y = torch.rand(1, 6), torch.tensor([0])
    with pytest.raises(UnsupportedThreat, match="give L0 with a box"):
        OnePixel().run(torch.nn.Linear(6, 2), x, y, L2(0.1))
    with pytest.raises(InputError, match="no number of pixels"):
        OnePixel().run(torch.nn.Linear(6, 2), x, y, L0("inf"))
