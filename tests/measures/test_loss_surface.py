import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.loss_surface import LossSurface
from holdfast.threats import Linf
from measures.smooth import First, form
from nets import examples, small_net


def test_a_quadratic_form_has_its_own_surface():
    model, keys = form(), Keys.of(5, range(4))
    x, y = torch.rand(4, 5).double(), torch.zeros(4).long()
    measure = LossSurface(points=5, span=2.0, loss=First())
    sums = measure.update(model, x, y, Linf(0.1), keys=keys)
    assert measure.axis == (-2.0, -1.0, 0.0, 1.0, 2.0)
    first = 0.1 * (x @ model.matrix).sign()
    second = 0.1 * keys.fold("surface").sign((5,)).double()
    for i, a in enumerate(measure.axis):
        for j, b in enumerate(measure.axis):
            exact = model(x + a * first + b * second)[:, 0]
            assert torch.allclose(sums["losses"][:, i, j], exact, atol=1e-12)
    assert torch.equal(sums["losses"][:, 3, 2], sums["one_step"])
    assert sums["right"].dtype == torch.bool


def test_a_linear_loss_is_a_plane_and_not_distorted():
    model, x, y = nn.Linear(6, 3).double(), torch.rand(4, 6).double(), torch.zeros(4).long()
    measure = LossSurface(points=7, loss=First())
    sums = measure.update(model, x, y, Linf(0.3))
    assert sums["losses"].diff(n=2, dim=1).abs().max() < 1e-12
    assert sums["losses"].diff(n=2, dim=2).abs().max() < 1e-12
    assert measure.compute(sums).value == 0.0


def test_a_loss_that_is_larger_on_the_way_is_distorted():
    class Hump(nn.Module):
        def forward(self, x):
            value = torch.sin(10 * x.sum(dim=1))  # peaks after 0.157 / 2 per coordinate
            return torch.stack([value, torch.zeros_like(value)], dim=1)

    measure = LossSurface(points=21, loss=First())
    x, y = torch.zeros(3, 2), torch.zeros(3).long()
    short, long = (
        measure.compute(measure.update(Hump(), x, y, Linf(eps))).value for eps in (0.05, 0.15)
    )
    assert (short, long) == (0.0, 1.0)


def test_it_depends_on_the_example_alone():
    net = small_net()
    x, y = examples(7, net)
    keys, frozen = Keys.of(0, range(7)), FrozenModel(net, block=3)
    measure = LossSurface(points=3)
    whole = measure.update(frozen, x, y, Linf(0.3), keys=keys)
    some = measure.update(frozen, x[4:], y[4:], Linf(0.3), keys=keys[4:])
    assert torch.equal(some["losses"], whole["losses"][4:])
    assert bool(whole["right"][:, 1, 1].all())


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="points=4: is even"):
        LossSurface(points=4)
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(InputError, match="spans no slice"):
        LossSurface().update(net, x, y, Linf(float("inf")))
