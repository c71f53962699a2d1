import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.toys.plane import Voronoi, separated


def test_separated_points_keep_their_distance_in_the_unit_square():
    x, y = separated(3, count=9, distance=0.2)
    assert x.shape == (9, 2)
    assert ((x >= 0) & (x <= 1)).all()
    apart = torch.cdist(x, x, p=math.inf) + torch.eye(9)
    assert (apart >= 0.2).all()
    assert set(y.tolist()) <= {0, 1}
    assert torch.equal(separated(3, count=9, distance=0.2)[0], x)
    assert not torch.equal(separated(4, count=9, distance=0.2)[0], x)


def test_labels_are_of_both_kinds_over_seeds():
    labels = torch.cat([separated(seed)[1] for seed in range(5)])
    assert 0.3 < labels.double().mean() < 0.7


def test_points_for_which_there_is_no_room_are_refused():
    with pytest.raises(InputError, match="found room for"):
        separated(0, count=12, distance=0.6)


def test_cells_are_those_of_the_nearest_seed():
    world = Voronoi.draw(1, classes=5)
    x, y = world.points(2, 40)
    own = (x - world.seeds[y]).norm(dim=1)
    assert all((own <= (x - seed).norm(dim=1) + 1e-6).all() for seed in world.seeds)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_the_distance_to_the_next_cell_is_exact(p):
    world = Voronoi.draw(5, classes=4)
    x, y = world.points(6, 7)
    reach = world.distance(x, p=p)
    turns = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    way = torch.stack([turns.cos(), turns.sin()], dim=1)
    way = torch.cat([way, torch.eye(2).double(), -torch.eye(2).double(), corners()])
    way = way / torch.linalg.vector_norm(way, ord=p, dim=1, keepdim=True)
    for at in range(len(x)):
        inside = world.label(x[at].double() + 0.999 * reach[at] * way)
        outside = world.label(x[at].double() + 1.01 * reach[at] * way)
        assert (inside == y[at]).all()
        assert (outside != y[at]).any()


def corners():
    return torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64)


@pytest.mark.slow
def test_other_distances_are_kept_as_well():
    x, _ = separated(2, distance=0.32, p=1.0)
    assert (torch.cdist(x, x, p=1.0) + torch.eye(12) >= 0.32).all()
    assert (torch.cdist(x, x, p=math.inf) + torch.eye(12) >= 0.16).all()
