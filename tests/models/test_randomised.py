import math

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.models.randomised import PostAveraged, Randomised, unit
from holdfast.threats import Linf
from nets import examples, small_net

B, K, C, H, W, F = 3, 5, 2, 7, 6, 11


class Recorder(nn.Module):
    """Uniform logits, and a list of the inputs it saw."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x):
        self.seen.append(x)
        return torch.zeros(len(x), K, dtype=x.dtype)


@pytest.mark.parametrize("wrap", [lambda net: Randomised(net, 0.2), PostAveraged])
@pytest.mark.parametrize("shape", [(C, H, W), (F,)])
def test_calls_differ_and_a_seed_repeats_them(wrap, shape):
    net = small_net() if len(shape) == 3 else nn.Linear(F, K)
    x = torch.rand(B, *shape)
    model = wrap(net)
    state = torch.get_rng_state()
    with torch.no_grad():
        first, second = model(x), model(x)
        assert not torch.isclose(first, second).all(dim=1).any()
        model.seed_again(0)
        assert torch.equal(model(x), first)
        assert torch.equal(model(x), second)
        model.seed_again(1)
        assert not torch.equal(model(x), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_go_on_in_and_after_a_frozen_view():
    net = small_net()
    x, y = examples(B, net)
    model = Randomised(net, 0.1).eval()
    with FrozenModel(model) as frozen:
        assert not torch.equal(frozen.logits(x), frozen.logits(x))
    with FrozenModel(model) as again:
        again.logits(x)
    assert model.calls == 3
    PGD(steps=3, restarts=2).run(model, x, y, Linf(0.1))


def test_the_noise_is_gaussian_of_the_scale_asked_for():
    net = Recorder()
    x = torch.full((B, 4000), 0.5, dtype=torch.float64)
    Randomised(net, 0.3)(x)
    noise = (net.seen[0] - x) / 0.3
    # 12,000 normals, five standard errors
    assert noise.mean().abs() < 5 / math.sqrt(noise.numel())
    assert (noise.var() - 1).abs() < 5 * math.sqrt(2 / noise.numel())
    assert torch.equal(Randomised(nn.Identity(), 0.0)(x), x)
    assert noise[0].dot(noise[1]).abs() / 4000 < 5 / math.sqrt(4000)


@pytest.mark.parametrize("shape", [(C, H, W), (F,)])
def test_points_lie_on_spheres_in_both_signs(shape):
    net = Recorder()
    x = torch.rand(B, *shape, dtype=torch.float64)
    PostAveraged(net, directions=4, radius=6.0, radii=3)(x)
    assert len(net.seen) == 1 + 2 * 4 * 3
    assert torch.equal(net.seen[0], x)
    steps = torch.stack([point - x for point in net.seen[1:]]).flatten(2)
    torch.testing.assert_close(
        steps.norm(dim=2), torch.tensor([2.0, 2, 4, 4, 6, 6] * 4)[:, None].expand(-1, B).double()
    )
    torch.testing.assert_close(steps[0::2], -steps[1::2])
    across = (steps[0::6] / 2).permute(1, 0, 2)
    assert ((across @ across.mT).triu(1).abs() < 0.99).all()
    assert (across[0] - across[1]).abs().amax() > 0.01


def test_the_default_takes_91_forwards():
    net = Recorder()
    PostAveraged(net)(torch.rand(B, F))
    assert len(net.seen) == 91


def test_it_is_the_mean_of_the_softmaxes():
    net = small_net()
    x, _ = examples(B, net)
    seen = []
    handle = net.register_forward_hook(lambda module, args, out: seen.append(out.softmax(1)))
    logs = PostAveraged(net, directions=3, radius=0.5, radii=2)(x)
    handle.remove()
    torch.testing.assert_close(logs.exp(), torch.stack(seen).mean(0))
    p = PostAveraged(net, directions=3, radius=0.5, radii=2, output="probabilities")(x)
    torch.testing.assert_close(p, logs.exp())
    torch.testing.assert_close(p.sum(1), torch.ones(B))


def test_in_a_flat_place_it_is_the_softmax_itself():
    model = PostAveraged(nn.Linear(F, K), radius=1e-9)
    x = torch.rand(B, F)
    torch.testing.assert_close(model(x), model.net(x).log_softmax(1))


def test_logs_stay_finite_where_softmax_underflows():
    class Sure(nn.Module):
        def forward(self, x):
            return 300.0 * torch.eye(K)[: len(x)]

    assert torch.isfinite(PostAveraged(Sure())(torch.rand(B, F))).all()


def test_unit_vectors():
    v = torch.cat([torch.randn(B, C, H, W), torch.zeros(1, C, H, W)])
    torch.testing.assert_close(unit(v).flatten(1).norm(dim=1), torch.tensor([1.0, 1.0, 1.0, 0.0]))


def test_bad_hyperparameters_are_named():
    net = nn.Identity()
    for change in ({"directions": 0}, {"radius": 0.0}, {"radii": 0}, {"output": "logit"}):
        with pytest.raises(InputError, match=next(iter(change))):
            PostAveraged(net, **change)
    for change in ({"sigma": -0.1}, {"sigma": 0.1, "seed": -1}):
        with pytest.raises(InputError, match=list(change)[-1]):
            Randomised(net, **change)
    assert "sigma=0.1, seed=7" in repr(Randomised(net, 0.1, seed=7))
    assert "directions=15, radius=6, radii=3, output='log'" in repr(PostAveraged(net))
