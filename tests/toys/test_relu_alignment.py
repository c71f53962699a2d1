import math
from functools import cache

import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.measures.gradient_alignment import GradientAlignment
from holdfast.threats import Linf
from holdfast.toys.relu_alignment import (
    InitialAlignment,
    PatchNet,
    single_filter_alignment,
)

RADII = (2 / 255, 8 / 255, 10 / 255, 16 / 255, 0.1, 1.0)
TABLE = [  # limit, B1, with sqrt(1 + 2/p), B2; 400,000 samples, p = 27
    (0.9975, 0.9866, 0.899, 0.862),
    (0.9898, 0.9464, 0.798, 0.724),
    (0.9872, 0.9331, 0.774, 0.692),
    (0.9800, 0.8935, 0.715, 0.611),
    (0.9682, 0.8317, 0.641, 0.510),
    (0.749, 0.5, 0.5, 0.5),
]


@cache
def lemma(**settings):
    return InitialAlignment(**settings).over(list(RADII))


@pytest.mark.parametrize("place", range(len(RADII)))
def test_the_limit_and_its_bounds_are_those_of_the_table(place):
    found = lemma(samples=100_000)[place]
    values = (found.limit, found.hoeffding, found.cauchy_schwarz, found.lemma)
    assert values == pytest.approx(TABLE[place], abs=3e-3)
    assert found.limit >= found.hoeffding >= found.cauchy_schwarz >= found.lemma >= 0.5


def test_the_scale_of_the_weights_does_not_matter():
    small, large = (lemma(samples=20_000, weight_scale=scale) for scale in (0.05, 7.0))
    for one, other in zip(small, large, strict=True):
        assert one.limit == pytest.approx(other.limit, rel=1e-9)
        assert one.hoeffding == pytest.approx(other.hoeffding, rel=1e-9)
        assert one.lemma == pytest.approx(other.lemma, rel=1e-9)


@pytest.mark.parametrize(
    ("filters", "patches", "mean", "spread"),
    [(4, 100, 0.988, 0.025), (64, 100, 0.990, 0.003), (64, 1000, 0.990, 0.0015)],
)
def test_finite_networks_are_near_the_limit(filters, patches, mean, spread):
    values = []
    for seed in range(25):
        net = PatchNet.make(seed, filters=filters, patches=patches, patch=27)
        keys = Keys.of(seed, [0])
        x = keys.fold("x").uniform((27 * patches,))
        noise = keys.fold("noise").uniform((27 * patches,), low=-8 / 255, high=8 / 255)
        values.append(net.alignment(x, noise))
    found = torch.cat(values)
    assert found.mean().item() == pytest.approx(mean, abs=3 * spread / 5 + 1e-3)
    assert found.std().item() < 2 * spread


def test_the_scales_of_a_network_do_not_matter():
    x = Keys.of(0, range(3)).uniform((6 * 4,))
    noise = Keys.of(1, range(3)).uniform((6 * 4,), low=-0.2, high=0.2)
    one, other = (
        PatchNet.make(2, filters=5, patches=6, patch=4, weight_scale=w, output_scale=u)
        for w, u in ((1.0, 1.0), (0.01, 30.0))
    )
    assert torch.allclose(one.alignment(x, noise), other.alignment(x, noise), atol=1e-6)


def test_the_gradient_is_that_of_autograd():
    net = PatchNet.make(0, filters=5, patches=6, patch=4)
    net = PatchNet(net.weight, net.output, torch.linspace(-1, 1, 5))
    x = Keys.of(0, range(3)).uniform((24,)).double().requires_grad_(True)
    (exact,) = torch.autograd.grad(net.value(x).sum(), x)
    assert torch.allclose(net.gradient(x), exact)
    assert exact.abs().sum() > 0


def one_filter_convolution(seed=0):
    """The network of Eq 2.6 as a strided convolution, and the same as patches."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 1, 3, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    model = model.double()
    with torch.no_grad():
        model[0].weight.sub_(model[0].weight.mean())
        model[0].bias.zero_()
        model[3].weight[0] = 0.0
    weight, output = model[0].weight.detach().view(1, -1), model[3].weight.detach()[1:]
    return model, PatchNet(weight, output, model[0].bias.detach())


def test_the_formula_of_one_filter_equals_autograd():
    model, net = one_filter_convolution()
    x, keys = torch.rand(7, 2, 9, 6).double(), Keys.of(0, range(7))
    threat, y = Linf(0.3, box=None), torch.arange(7) % 2
    found = GradientAlignment().update(model, x, y, threat, keys=keys)
    moved = threat.sample(x, keys=keys.fold("alignment"))

    def patches(images):
        cut = nn.functional.unfold(images, 3, stride=3)
        return cut.transpose(1, 2).flatten(1)

    active, noisy = (net.active(patches(each))[:, 0] for each in (x, moved))
    exact = single_filter_alignment(net.output[0], active, noisy)
    defined = active.any(dim=1) & noisy.any(dim=1)
    assert int(defined.sum()) > 4
    assert not bool((active == noisy).all())
    assert torch.allclose(found["cosine"][defined], exact[defined])
    noise = patches(moved) - patches(x)
    assert torch.allclose(net.alignment(patches(x), noise)[defined], exact[defined])


def test_a_nested_active_set_gives_the_root_of_the_ratio():
    noisy = torch.arange(20)[None] < torch.tensor([[10], [20], [9]])
    active = torch.arange(20)[None] < torch.tensor([[1], [5], [9]])
    output = torch.where(torch.arange(20) % 3 == 0, 0.7, -0.7)
    found = single_filter_alignment(output, active, noisy)
    assert found.tolist() == pytest.approx([math.sqrt(0.1), 0.5, 1.0])


def test_what_the_measure_sees_of_a_patch_network():
    net = PatchNet.make(3, filters=8, patches=6, patch=4)
    x, keys = Keys.of(0, range(5)).uniform((24,)).double(), Keys.of(4, range(5))
    threat = Linf(0.2, box=None)
    found = GradientAlignment().update(net.module(), x, torch.arange(5) % 2, threat, keys=keys)
    noise = threat.sample(x, keys=keys.fold("alignment")) - x
    assert torch.allclose(found["cosine"], net.alignment(x, noise))


def test_bad_input_is_named():
    with pytest.raises(InputError, match="patch=1: is too small"):
        InitialAlignment(patch=1)
    with pytest.raises(InputError, match="not positive"):
        InitialAlignment(samples=10).at(0.0)
    with pytest.raises(InputError, match="do not fit"):
        PatchNet(torch.ones(3, 2), torch.ones(2, 5), torch.ones(3))
