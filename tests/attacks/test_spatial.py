import itertools

import pytest
import torch
from torch import nn

from holdfast.attacks.spatial import SpatialGradient, SpatialGrid, SpatialRandom, _pulled_back
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.threats.noise import Gaussian
from holdfast.threats.spatial import Spatial
from nets import examples, small_net

torch.set_num_threads(1)
SEARCHES = (SpatialGrid(rotations=5, shifts=3), SpatialRandom(), SpatialGradient(steps=3))


class PixelNet(nn.Module):
    """Class 1 where the pixel (row, column) is brighter than a half."""

    def __init__(self, row, column):
        super().__init__()
        self.row, self.column = row, column

    def forward(self, x):
        value = x[:, 0, self.row, self.column]
        return torch.stack([torch.full_like(value, 0.5), value], dim=1)


def dot(row, column, count=3):
    """Images 7 x 9 of one bright pixel."""
    x = torch.zeros(count, 1, 7, 9)
    x[:, 0, row, column] = 1.0
    return x, torch.zeros(count, dtype=torch.int64)


def run(attack, net, x, y, threat, **options):
    keys = Keys.of(0, range(len(x)))
    return attack.run(FrozenModel(net, block=4), x, y, threat, keys=keys, **options)


def test_a_shift_of_two_pixels_is_found_where_the_range_allows_it():
    x, y = dot(3, 4)
    net, grid = PixelNet(3, 6), SpatialGrid()
    far, near = Spatial(translation=2), Spatial(translation=1.4)
    found = run(grid, net, x, y, far)
    assert found.success.all()
    assert found.params.tolist() == [[0, 2, 0, 1, 0]] * 3
    assert torch.equal(found.x_adv, torch.roll(x, 2, dims=3))
    assert torch.equal(found.size, torch.ones(3))
    assert not run(grid, net, x, y, near).success.any()
    assert not run(grid, net, x, y, Spatial(rotation=180)).success.any()
    assert run(SpatialRandom(samples=300), net, x, y, far).success.any()
    assert not run(SpatialRandom(samples=300), net, x, y, near).success.any()


def test_a_quarter_turn_is_found_where_the_range_allows_it():
    x, y = dot(3, 6)
    net = PixelNet(1, 4)
    found = run(SpatialGrid(rotations=3), net, x, y, Spatial(rotation=90))
    assert found.success.all()
    assert torch.allclose(found.params[:, 0], torch.tensor(90.0))
    assert not run(SpatialGrid(), net, x, y, Spatial(rotation=30)).success.any()


def test_a_flip_is_found():
    x, y = dot(3, 1)
    net = PixelNet(3, 7)
    found = run(SpatialGrid(), net, x, y, Spatial(flip=True))
    assert found.success.all()
    assert torch.equal(found.params[:, 4], torch.ones(3))
    assert not run(SpatialGrid(), net, x, y, Spatial(translation=2)).success.any()


def test_the_grid_finds_what_brute_force_finds():
    net = small_net()
    x, y = examples(9, net)
    threat = Spatial(rotation=12, translation=1, scale=0.1, flip=True)
    result = run(SpatialGrid(rotations=5, shifts=3, scales=3), net, x, y, threat)
    wrong = torch.zeros(9, dtype=torch.bool)
    least = torch.full((9,), torch.inf)
    for params in threat.grid(rotations=5, shifts=3, scales=3):
        top = net(threat.apply(params, x)).detach()
        own = top.gather(1, y[:, None])[:, 0]
        margin = own - top.scatter(1, y[:, None], -torch.inf).amax(dim=1)
        wrong, least = wrong | (margin <= 0), torch.minimum(least, margin)
    assert torch.equal(result.success, wrong)
    assert torch.allclose(result.margin[~wrong], least[~wrong], atol=1e-5)
    assert int(wrong.sum()) > 0


def test_the_grid_of_a_threat_without_ranges_costs_one_forward():
    net = small_net()
    x, y = examples(3, net)
    result = run(SpatialGrid(), net, x, y, Spatial())
    assert result.forwards.tolist() == [1] * 3
    assert torch.equal(result.x_adv, x)


@pytest.mark.slow
def test_more_draws_find_what_fewer_find():
    net = small_net()
    x, y = examples(40, net)
    threat = Spatial(rotation=15, translation=1)
    found = [run(SpatialRandom(samples=k), net, x, y, threat).success for k in (1, 3, 10, 30)]
    for fewer, more in itertools.pairwise(found):
        assert bool((fewer <= more).all())
    assert int(found[0].sum()) < int(found[-1].sum())


def test_more_restarts_find_what_fewer_find():
    net = small_net()
    x, y = examples(20, net)
    threat = Spatial(rotation=6, translation=0.5)
    found = [
        run(SpatialGradient(steps=2, restarts=r), net, x, y, threat).success for r in (1, 2, 6)
    ]
    assert bool((found[0] <= found[1]).all())
    assert bool((found[1] <= found[2]).all())


class Blob(nn.Module):
    """Class 1 where the weight of an image lies further right than a level: linear in the shift."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, x):
        columns = torch.arange(x.shape[3], dtype=x.dtype, device=x.device)
        value = (x.sum(dim=2) * columns).sum(dim=(1, 2)) - self.level
        return torch.stack([torch.zeros_like(value), value], dim=1)


def test_the_gradient_climbs_to_the_worst_shift():
    """The centre of mass moves as far as the shift: class 1 needs more than 1.8 pixels."""
    x, y = dot(3, 4)
    attack = SpatialGradient(steps=25, restarts=1)
    found = run(attack, Blob(5.8), x, y, Spatial(translation=2))
    assert found.success.all()
    assert bool((found.params[:, 1] >= 1.8 - 1e-5).all())
    stuck = run(attack, Blob(5.8), x, y, Spatial(translation=1.7))
    assert not stuck.success.any()
    assert torch.allclose(stuck.params[:, 1], torch.tensor(1.7))
    assert torch.allclose(stuck.margin, torch.full((3,), 0.1), atol=1e-4)


def test_the_gradient_agrees_with_differences():
    x, _ = examples(3, small_net())
    x = x.double()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    threat = Spatial(rotation=30, translation=2, scale=0.2, box=None)
    params = threat.draw(Keys.of(0, range(3)))[:, 0].double()
    slope = _pulled_back(threat, x, params, weight)
    for column in range(4):
        step = torch.zeros(5, dtype=x.dtype)
        step[column] = 1e-6
        up, down = (threat.apply(params + sign * step, x) for sign in (1, -1))
        difference = ((up - down) * weight).flatten(1).sum(dim=1) / 2e-6
        assert torch.allclose(slope[:, column], difference, atol=1e-5)
    assert torch.equal(slope[:, 4], torch.zeros(3, dtype=x.dtype))


@pytest.mark.parametrize("attack", SEARCHES, ids=lambda attack: type(attack).__name__)
def test_refuses_other_threats_and_other_shapes(attack):
    net = small_net()
    x, y = examples(3, net)
    for threat in (Linf(0.1), Gaussian(0.1)):
        with pytest.raises(UnsupportedThreat, match=type(threat).__name__):
            attack.run(net, x, y, threat)
    with pytest.raises(InputError, match="images"):
        attack.run(nn.Linear(6, 2), torch.rand(3, 6), torch.tensor([0, 1, 1]), Spatial(rotation=9))
