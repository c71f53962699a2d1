import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.attacks.noise import NoiseSearch
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.threats.noise import Gaussian, SaltAndPepper, UniformL2, UniformLinf
from holdfast.threats.spatial import Spatial
from nets import examples, small_net

torch.set_num_threads(1)
THREATS = (Gaussian(0.1), UniformLinf(0.2), UniformL2(1.0), SaltAndPepper(0.05), Linf(0.2))


def half_space(level):
    """Class 1 where the first feature exceeds a level."""
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[1, 0] = 1.0
        model.bias.copy_(torch.tensor([level, 0.0]))
    return model


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_more_draws_find_what_fewer_find(threat):
    net = small_net()
    x, y = examples(40, net)
    keys = Keys.of(0, range(40))
    found = [
        NoiseSearch(samples=k).run(net, x, y, threat, keys=keys).success for k in (1, 3, 10, 30)
    ]
    for fewer, more in itertools.pairwise(found):
        assert bool((fewer <= more).all())
    assert int(found[0].sum()) < int(found[-1].sum())


def test_agrees_with_all_draws_looked_at():
    net = small_net()
    x, y = examples(23, net)
    keys, threat = Keys.of(0, range(23)), UniformLinf(0.2)
    result = NoiseSearch(samples=9).run(net, x, y, threat, keys=keys)
    draws = [threat.sample(x, keys=keys.fold("noise"), step=n) for n in range(9)]
    wrong = torch.stack([net(each).argmax(1) != y for each in draws])
    assert torch.equal(result.success, wrong.any(dim=0))
    assert 0 < int(result.success.sum()) < 23
    first = wrong.to(torch.int8).argmax(dim=0)[result.success]
    assert torch.equal(result.forwards[result.success], first + 3)


@pytest.mark.parametrize("samples", [1, 5])
def test_success_has_the_probability_of_the_tail(samples):
    """P(some of k draws crosses) = 1 - Phi(t)^k, to 4.5 standard errors (false alarm 7e-6)."""
    count, sigma, gap = 2000, 0.1, 0.12
    x, y = torch.full((count, 4), 0.5), torch.zeros(count, dtype=torch.int64)
    threat = Gaussian(sigma, box=None)
    keys = Keys.of(3, range(count))
    result = NoiseSearch(samples=samples).run(half_space(0.5 + gap), x, y, threat, keys=keys)
    below = 0.5 * (1 + math.erf(gap / sigma / math.sqrt(2)))
    expected = 1 - below**samples
    error = math.sqrt(expected * (1 - expected) / count)
    assert abs(float(result.success.float().mean()) - expected) <= 4.5 * error


def test_a_boundary_out_of_the_support_is_never_crossed():
    x, y = torch.full((30, 4), 0.5), torch.zeros(30, dtype=torch.int64)
    keys = Keys.of(0, range(30))
    for threat in (UniformLinf(0.1), UniformL2(0.1), Linf(0.1)):
        far = NoiseSearch(samples=50).run(half_space(0.601), x, y, threat, keys=keys)
        near = NoiseSearch(samples=50).run(half_space(0.52), x, y, threat, keys=keys)
        assert not far.success.any()
        assert near.success.all()


def test_refuses_what_has_no_draws_to_compare():
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(UnsupportedThreat, match="SpatialRandom"):
        NoiseSearch().run(net, x, y, Spatial(rotation=3))
    with pytest.raises(UnsupportedThreat, match="object"):
        NoiseSearch().check(object())
    with pytest.raises(InputError, match="samples"):
        NoiseSearch(samples=0)
