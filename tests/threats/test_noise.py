import math
import pickle

import pytest
import torch
from scipy import stats

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats.noise import Gaussian, SaltAndPepper, UniformL2, UniformLinf
from holdfast.threats.protocol import Membership, Searchable

torch.set_num_threads(1)
KINDS = (Gaussian, UniformLinf, UniformL2, SaltAndPepper)
B, EVENT = 3, (2, 5, 4)
kinds = pytest.mark.parametrize("kind", KINDS)


def inputs(dtype=torch.float32):
    return Keys.of(0, range(B)).uniform(EVENT, low=-0.2, high=1.2).clamp(0, 1).to(dtype)


def changes(noise, features, count=4000):
    """Draws of d without a box, (count, features), one example each."""
    x = torch.full((count, features), 0.5)
    return (noise.sample(x, keys=Keys.of(0, range(count))) - x).double()


@kinds
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_contained_and_in_the_box(kind, dtype):
    x = inputs(dtype)
    for box in ((0.0, 1.0), None):
        if kind is SaltAndPepper and box is None:
            continue
        noise = kind(0.3, box=box)
        for step in range(5):
            drawn = noise.sample(x, keys=Keys.of(2, range(B)), step=step)
            assert drawn.dtype == dtype
            assert not torch.equal(drawn, x)
            assert noise.contains(drawn, x).all()
            assert box is None or bool(((drawn >= 0) & (drawn <= 1)).all())
        assert noise.contains(x, x).all()
        assert noise.size(x, x).eq(0).all()
        assert not noise.contains(torch.full_like(x, math.nan), x).any()
        assert not kind(0.3).contains(x - 3, x).any()


@kinds
def test_draws_are_those_of_the_key_whatever_the_batch(kind):
    noise, keys, x = kind(0.4), Keys.of(5, range(B)), inputs()
    drawn = noise.sample(x, keys=keys)
    order = torch.tensor([2, 0])
    assert torch.equal(noise.rows(order).sample(x[order], keys=keys[order]), drawn[order])
    other = noise.sample(x, keys=keys, step=torch.tensor([0, 1, 0]))
    assert [torch.equal(a, b) for a, b in zip(other, drawn, strict=True)] == [True, False, True]


def test_gaussian_draws_have_the_moments_and_the_shape():
    """Kolmogorov-Smirnov and moments; the keys are fixed, false-alarm rate about 1e-3."""
    move = changes(Gaussian(0.1, box=None), 5) / 0.1
    assert move.mean(0).abs().max() < 4 / math.sqrt(len(move))
    assert (move.var(0) - 1).abs().max() < 4 * math.sqrt(2 / len(move))
    covariance = move.T @ move / len(move) - torch.eye(5)
    assert covariance.abs().max() < 4 * math.sqrt(2 / len(move))
    assert stats.kstest(move[:, 0].numpy(), "norm").pvalue > 1e-3


def test_uniform_draws_fill_the_ball_by_volume():
    share = (changes(UniformLinf(0.2, box=None), 3) / 0.2 + 1) / 2
    assert all(stats.kstest(column.numpy(), "uniform").pvalue > 1e-3 for column in share.T)
    move = changes(UniformL2(0.2, box=None), 3) / 0.2
    assert stats.kstest((move.norm(dim=1) ** 3).numpy(), "uniform").pvalue > 1e-3
    assert move.mean(0).abs().max() < 4 * math.sqrt(1 / 5 / len(move))
    assert (move.square().mean(0) - 1 / 5).abs().max() < 0.015


def test_salt_and_pepper_fall_at_their_rate():
    x = torch.full((1, 40_000), 0.5)
    drawn = SaltAndPepper(0.3, box=(-1, 2)).sample(x, keys=Keys.of(0, [0]))
    for value in (-1.0, 2.0):
        share = (drawn == value).double().mean().item()
        assert share == pytest.approx(0.15, abs=4 * math.sqrt(0.15 * 0.85 / 40_000))
    assert SaltAndPepper(0.3, box=(-1, 2)).size(drawn, x).item() == pytest.approx(0.3, abs=0.01)
    assert bool(((drawn == -1) | (drawn == 2) | (drawn == 0.5)).all())


def test_log_densities_are_those_of_scipy():
    x = inputs(torch.float64)
    near = x + 0.05 * Keys.of(3, range(B)).uniform(EVENT, low=-1.0, high=1.0).double()
    move = (near - x).flatten(1).numpy()
    expected = torch.as_tensor(stats.norm(scale=0.1).logpdf(move).sum(1))
    torch.testing.assert_close(Gaussian(0.1).log_density(near, x), expected)
    expected = torch.as_tensor(stats.uniform(-0.05, 0.1).logpdf(move).sum(1))
    torch.testing.assert_close(UniformLinf(0.05).log_density(near, x), expected)
    assert UniformLinf(0.01).log_density(near, x).isneginf().all()
    two, ball = torch.zeros(1, 3).double(), 4 / 3 * math.pi * 0.5**3
    assert UniformL2(0.5).log_density(two, two).item() == pytest.approx(-math.log(ball))
    assert UniformL2(0.5).log_density(two + 0.3, two).item() == -math.inf


def test_the_gradient_of_the_gaussian_density_is_the_closed_form():
    x = inputs(torch.float64)
    point = (x + 0.1).requires_grad_(True)
    (slope,) = torch.autograd.grad(Gaussian(0.2).log_density(point, x).sum(), point)
    torch.testing.assert_close(slope, torch.full_like(x, -0.1 / 0.04))


def test_sizes_are_the_levels_that_fit():
    x = torch.zeros(1, 4)
    moved = torch.tensor([[0.3, 0.0, 0.0, -0.4]])
    fits = {Gaussian: 0.25, UniformLinf: 0.4, UniformL2: 0.5, SaltAndPepper: 0.5}
    for kind, level in fits.items():
        assert kind(0.1).size(moved, x).item() == pytest.approx(level)
    assert UniformL2(0.5, box=None).contains(moved, x).item()
    assert not UniformL2(0.5).contains(moved, x).item()
    assert not UniformLinf(0.39, box=None).contains(moved, x).item()
    assert Gaussian(0.1, box=None).contains(100 * moved, x).item()
    assert not SaltAndPepper(0.5).contains(moved.abs(), x).item()
    assert SaltAndPepper(0.1).contains(torch.ones(1, 4), x).item()


@kinds
def test_texts_and_equality(kind):
    assert kind("8/255").text == f"{kind.kind}:8/255"
    assert kind(0.1, box=(-1, 1)).text == f"{kind.kind}:0.1,box=-1:1"
    assert str(kind(0.1)) == kind(0.1).name == f"{kind.kind}:0.1"
    assert kind("0.1") == kind(0.1) == kind(0.9).at(0.1) != kind(0.2)
    assert len({kind(0.1), kind("0.1"), kind(0.1, box=(0, 2))}) == 2
    assert pickle.loads(pickle.dumps(kind(0.1))) == kind(0.1)
    assert isinstance(kind(0.1), Membership)
    assert not isinstance(kind(0.1), Searchable)


@pytest.mark.gpu
@kinds
def test_cuda_agrees_with_the_cpu(kind):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    x, keys, noise = inputs(), Keys.of(2, range(B)), kind(0.3)
    here, there = noise.sample(x, keys=keys), noise.sample(x.cuda(), keys=keys.to("cuda"))
    torch.testing.assert_close(there.cpu(), here)
    assert noise.contains(there, x.cuda()).all()
    torch.testing.assert_close(noise.size(there, x.cuda()).cpu(), noise.size(here, x))
    if kind is not SaltAndPepper:
        density = noise.log_density(there, x.cuda()).cpu()
        torch.testing.assert_close(density, noise.log_density(here, x))


def test_a_text_without_a_box_is_written():
    assert Gaussian(0.1, box=None).text == "gaussian:0.1,box=none"


@kinds
@pytest.mark.parametrize("level", [0, -0.1, "wide", math.inf, math.nan])
def test_a_bad_level_is_named(kind, level):
    with pytest.raises(InputError, match=r"(sigma|eps|fraction)=.*give a"):
        kind(level)


def test_bad_input():
    with pytest.raises(InputError, match=r"fraction=1\.5: is above 1"):
        SaltAndPepper(1.5)
    with pytest.raises(InputError, match="box=None: has no ends"):
        SaltAndPepper(0.1, box=None)
    with pytest.raises(InputError, match=r"box=.*is not an interval"):
        Gaussian(0.1, box=(1, 0))
    x = inputs()
    for kind in KINDS:
        for method in (kind(0.1).contains, kind(0.1).size):
            with pytest.raises(InputError, match="differs from x"):
                method(x[:, :1], x)
