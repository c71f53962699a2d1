import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.measures.dead_layers import DeadUnits
from holdfast.measures.gradient_norms import GradientNorms
from nets import examples, small_net


class Twice(nn.Module):
    """One rectifier that runs twice."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.relu = nn.Linear(6, 4), nn.Linear(4, 3), nn.ReLU()

    def forward(self, x):
        return self.relu(self.last(self.relu(self.first(x))))


def test_units_that_no_example_activates_are_dead():
    net = small_net()
    x, y = examples(7, net)
    with torch.no_grad():
        net[0].bias[2] = -100.0
        net[0].bias[1] = 100.0
    sums = DeadUnits().update(net, x, y)
    with torch.no_grad():
        outputs = net[1](net[0](x)) > 0
    assert torch.equal(sums.counts["1"], outputs.sum(dim=0))
    dead = float((outputs.sum(dim=0) == 0).double().mean())
    assert sums.dead == {"1": pytest.approx(dead)}
    assert 0.25 <= dead < 0.5
    assert sums.active["1"] == pytest.approx(float(outputs.double().mean()))
    found = DeadUnits().compute(sums)
    assert (found.value, found.stderr, found.n) == (pytest.approx(dead), None, 7)
    assert sums.dead_layers == ()
    assert sums.spread > 0


def test_a_dead_layer_makes_the_network_constant():
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        net[2].bias.fill_(-100.0)
    x, y = torch.rand(7, 6), torch.arange(7) % 3
    sums = DeadUnits().update(net, x, y)
    assert sums.dead_layers == ("3",)
    assert sums.spread == 0.0
    assert not GradientNorms().update(net, x, y)["norm"].any()


def test_sums_do_not_depend_on_batches_or_padding():
    net = small_net()
    x, y = examples(7, net)
    whole = DeadUnits().update(net, x, y)
    frozen = FrozenModel(net, block=3)
    parts = DeadUnits().update(frozen, x[:2], y[:2]) + DeadUnits().update(frozen, x[2:], y[2:])
    assert torch.equal(parts.counts["1"], whole.counts["1"])
    assert parts.n == whole.n == 7
    assert parts.spread == pytest.approx(whole.spread, abs=1e-6)


def test_a_module_that_runs_twice_is_two_layers():
    sums = DeadUnits().update(Twice(), torch.rand(5, 6), torch.zeros(5).long())
    assert {name: tuple(each.shape) for name, each in sums.counts.items()} == {
        "relu": (4,),
        "relu@2": (3,),
    }


def test_the_model_is_left_as_found_also_after_an_error():
    net = small_net().train()
    x, y = examples(3, net)
    DeadUnits().update(net, x, y)
    with pytest.raises(RuntimeError):
        DeadUnits().update(net, x[:, :, :3], y)
    assert not net[1]._forward_hooks
    assert net.training


def test_what_has_no_rectifiers_is_refused():
    with pytest.raises(InputError, match="has no ReLU modules"):
        DeadUnits().update(nn.Linear(6, 2), torch.rand(3, 6), torch.zeros(3).long())
    with pytest.raises(InputError, match="has no ReLU modules"):
        DeadUnits().update(lambda x: x, torch.rand(3, 6), torch.zeros(3).long())
