"""Each sign is seen on the model made for it, and not on an honest one."""

import pytest
import torch
from torch import nn

from holdfast.benchmark import flags
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.models import InnerOptimisation, InputQuantised, Probabilities, Randomised, Saturated
from holdfast.threats import Linf, Spatial
from nets import examples, small_net


def seen(model):
    return FrozenModel(model, block=6)


@pytest.fixture
def net():
    return small_net()


@pytest.fixture
def block(net):
    return examples(6, net)


def gradients(model, x, y):
    with seen(model) as frozen:
        return flags.gradients(frozen, x, y, torch.arange(40, 46), Linf(0.05), Keys.of(0, range(6)))


def test_noise_is_seen_and_honest_models_are_not_accused(net, block):
    x, y = block
    with seen(Randomised(net, sigma=0.3)) as frozen:
        assert flags.randomised(frozen, x, y).code == "randomised"
    with seen(net) as frozen:
        assert flags.randomised(frozen, x, y) is None
        assert flags.neighbours(frozen, x) is None
        assert flags.dynamic(frozen, x) is None
        assert flags.probabilities(frozen.logits(x)) is None
    assert gradients(net, x, y) == []


def test_noise_below_a_ten_thousandth_of_the_logits_is_not(net, block):
    x, y = block

    class Faint(nn.Module):
        calls = 0

        def forward(self, x):
            Faint.calls += 1
            return net(x) * (1 + 1e-6 * (Faint.calls % 2))

    with seen(Faint()) as frozen:
        assert flags.randomised(frozen, x, y) is None


def test_batch_statistics_are_seen(block):
    x, _ = block

    class Ranks(nn.Module):
        def forward(self, x):
            weight = torch.arange(1, len(x) + 1, dtype=x.dtype)
            return torch.stack([x.flatten(1).sum(1) * weight, x.flatten(1)[:, 0]], dim=1)

    with seen(Ranks()) as frozen:
        assert flags.neighbours(frozen, x).code == "neighbours"


def test_gradients_that_are_zero_and_those_that_only_drown(net, block):
    x, y = block
    (dead,) = gradients(InputQuantised(net, levels=4), x, y)
    assert (dead.code, dead.severity, len(dead.examples)) == ("zero-gradients", "severe", 6)
    assert dead.examples[0] == 40
    (flat,) = gradients(Saturated(net, factor=1e5), x, y)
    assert flat.code == "saturated"


def test_a_label_that_ranks_third_is_no_zero_gradient():
    class Third(nn.Module):
        def forward(self, x):
            s = x.flatten(1).sum(1)
            return torch.stack([s, 3 * s + 5, 2 * s + 3], dim=1)

    x = torch.rand(6, 1, 2, 3)
    assert gradients(Third(), x, torch.zeros(6, dtype=torch.int64)) == []


def test_inner_gradients_are_seen_and_the_doors_are_as_before(net, block):
    x, _ = block
    own = torch.autograd.grad, torch.autograd.backward
    with seen(InnerOptimisation(net)) as frozen:
        assert flags.dynamic(frozen, x).code == "inner-optimisation"
    assert (torch.autograd.grad, torch.autograd.backward) == own

    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"), seen(Broken()) as frozen:
        flags.dynamic(frozen, x)
    assert (torch.autograd.grad, torch.autograd.backward) == own


def test_probabilities_need_to_add_up(net, block):
    x, _ = block
    with seen(Probabilities(net)) as frozen:
        assert flags.probabilities(frozen.logits(x)).code == "probabilities"
    assert flags.probabilities(torch.tensor([[0.1, 0.4, 0.4]])) is None
    assert flags.probabilities(torch.tensor([[0.5, 0.5, 0.0]])) is not None


@pytest.mark.parametrize(
    ("count", "names", "word"),
    [
        (10, ("apgd-t", "fab-t"), None),
        (5, ("apgd-ce", "square"), None),
        (5, ("apgd-t",), "5 classes"),
        (3, ("apgd-t",), "targeted DLR"),
        (2, ("apgd-dlr",), "DLR"),
        (2, (), None),
    ],
)
def test_few_classes(count, names, word):
    flag = flags.classes(count, names)
    assert (flag is None) if word is None else (word in flag.evidence)


def test_square_must_gain_more_than_a_fifth_of_a_point():
    assert flags.square(0.852, 0.850) is None
    assert flags.square(0.8521, 0.850).code == "square-improves"
    assert flags.square(0.5, 0.5) is None


def test_the_pilot_speaks_only_where_something_fell():
    assert flags.masked(32, 0) is None
    assert "5" in flags.masked(32, 5).evidence


def test_the_curve_must_fall_and_end_near_zero():
    radii = [0.0, 0.1, 0.2, 1.0]
    assert flags.radius(radii, [5.0, 3.0, 1.0, 0.0], [1.0, 0.8, 0.3, 0.0]) is None
    assert flags.radius(radii, [5.0, 3.0, 4.0, 0.0], [1.0, 0.8, 0.9, 0.0]).code == "loss-radius"
    stuck = flags.radius(radii, [5.0, 5.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0])
    assert stuck.code == "stands-everywhere"


def test_flags_are_plain_data():
    flag = flags.square(0.9, 0.5)
    assert set(flag.to_dict()) == {"code", "severity", "evidence", "advice", "examples"}
    assert flags.supports_gradients(Linf(0.1))
    assert not flags.supports_gradients(Spatial(rotation=3))
