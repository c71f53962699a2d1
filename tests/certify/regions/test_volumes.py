import math

import pytest
import torch

from certify.regions import INF, two_classes
from holdfast.certify.regions.equal_shares import EqualShares
from holdfast.certify.regions.growing import Region
from holdfast.certify.regions.volumes import (
    bounding_map,
    compare,
    feature_histogram,
    likeness,
    log_volume,
    mean_radius,
    share_above,
    spectrum,
)
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats.balls import Linf


def region(radii, certified=None):
    certified = torch.ones(len(radii), dtype=torch.bool) if certified is None else certified
    return Region(radii, certified, radii[:, 0], Linf(radii), True, {})


def uniform(count, features, seed=1):
    return Keys.of(seed, range(count)).uniform((features,)).double()


def test_the_mean_is_geometric():
    radii = uniform(4, 6).view(4, 3, 2)
    expected = radii.flatten(1).prod(1) ** (1 / 6)
    torch.testing.assert_close(mean_radius(radii), expected)


@pytest.mark.parametrize(
    ("p", "unit"), [(1.0, 2**3 / 6), (2.0, 4 / 3 * math.pi), (math.inf, 2.0**3)]
)
def test_volumes_of_balls_in_three_dimensions(p, unit):
    radii = uniform(4, 3) + 0.1
    expected = unit * radii.prod(1)
    torch.testing.assert_close(log_volume(radii, p).exp(), expected)
    with pytest.raises(InputError, match="has no ball"):
        log_volume(radii, 0.5)


def test_radii_of_balls_and_cubes_of_equal_volume():
    """Wong 2020, sec 3.5.4: sqrt(d / pi) eps, 1.58 for 784 pixels at 0.1; the same volume has
    1.362, less by a factor that tends to sqrt(e / 2)."""
    for features, eps, published in ((784, 0.1, 1.58), (1024, 2 / 255, 36.1 / 255)):
        radius = math.sqrt(features / math.pi) * eps
        assert radius == pytest.approx(published, rel=2e-3)
        cube, ball = (
            float(log_volume(torch.full((1, features), each, dtype=torch.float64), p))
            for each, p in ((eps, math.inf), (radius, 2.0))
        )
        same = radius * math.exp((cube - ball) / features)
        assert radius / same == pytest.approx(math.sqrt(math.e / 2), rel=0.01)
        assert features != 784 or same == pytest.approx(1.362, abs=5e-4)


def test_the_comparison_is_over_inputs_certified_in_both_ways():
    one = region(torch.tensor([[0.2, 0.8], [0.1, 0.1], [9.0, 9.0]]))
    two = region(torch.tensor([[0.2, 0.2], [0.1, 0.3], [9.0, 9.0]]), torch.tensor([1, 1, 0]) > 0)
    found = compare(one, two)
    small = math.sqrt(0.03)
    assert found.examples == 2
    assert found.nonuniform == pytest.approx((0.4 + 0.1) / 2)
    assert found.uniform == pytest.approx((0.2 + small) / 2)
    assert found.ratio == pytest.approx(found.nonuniform / found.uniform)
    assert found.larger == 0.5
    with pytest.raises(InputError, match="one way at most"):
        compare(one, region(torch.ones(3, 2), torch.zeros(3, dtype=torch.bool)))


def test_the_radii_of_a_linear_model_are_collinear():
    model, x, y, _, _ = two_classes()
    found = EqualShares().region(model, x, y, Linf(INF, box=None))
    assert likeness(found.radii).least > 0.999
    assert float(spectrum(found.radii)[0]) > 0.999


def test_uniform_vectors_have_a_cosine_of_three_quarters():
    found = likeness(uniform(40, 784))
    assert found.mean == pytest.approx(0.75, abs=0.005)
    assert found.pairs == 40 * 39 // 2
    assert found.least <= found.mean
    shares = spectrum(uniform(40, 784))
    assert float(shares.sum()) == pytest.approx(1.0)
    assert (shares[:-1] >= shares[1:]).all()


def test_the_histogram_counts_every_feature_once():
    radii = torch.tensor([[0.0, 0.05, 0.1, 0.19, 0.3, 7.0]])
    found = feature_histogram(radii, (0.0, 0.1, 0.2, 0.4))
    assert found.tolist() == [[2, 2, 2]]
    assert share_above(radii, 0.1).tolist() == [0.5]


def test_maps_are_light_where_the_radius_is_small():
    radii = torch.tensor([[[0.1, 1.0], [10.0, 0.1]], [[2.0, 2.0], [2.0, 2.0]]])
    found = bounding_map(radii)
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 0.5], [0.0, 1.0]]))
    assert (found[1] == 1).all()


def test_what_has_no_direction_is_refused():
    with pytest.raises(InputError, match="makes no pair"):
        likeness(torch.ones(1, 3))
    with pytest.raises(InputError, match=r"row 1.*is zero"):
        likeness(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
