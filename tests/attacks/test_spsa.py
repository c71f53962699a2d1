"""SPSA and NES: unbiased on a linear function, noise that falls with the samples, the books."""

import pytest
import torch

from holdfast.attacks.lockstep import Oracle
from holdfast.attacks.spsa import NES, SPSA
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net

W = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -0.25], dtype=torch.float64)


def linear():
    model = torch.nn.Linear(6, 2, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.stack([-W / 2, W / 2]))
        model.bias.copy_(torch.tensor([50.0, 0.0]))
    return model


def estimates(attack, count, block):
    """The first estimate of each of `count` examples: the loss is <W, x> - 50, its gradient W."""
    x, y = torch.full((count, 6), 0.5, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)
    keys, found = Keys.of(3, range(count)), []
    with FrozenModel(linear(), block=block) as frozen, torch.no_grad():
        for rows in torch.arange(count).split(block):
            listen = lambda event: None  # noqa: E731
            oracle = Oracle(attack, frozen, x, y, Linf(0.1), keys, None, None, rows, listen)
            found.append(attack.estimate(oracle, oracle.x, 0)[: len(rows)])
    return torch.cat(found)


@pytest.mark.parametrize("kind", [SPSA, NES])
def test_estimate_is_unbiased_on_a_linear_function(kind):
    # 4,000 examples: the mean's standard error is below |W| / sqrt(samples 4000) = 0.05.
    mean = estimates(kind(samples=2), 4000, 1000).mean(dim=0)
    assert float((mean - W).abs().max()) < 0.25


def test_noise_of_spsa_is_that_of_the_formula_and_falls_with_samples():
    # Var g_j = sum_{k != j} w_k^2 / n exactly, for signs on a linear function.
    for samples in (1, 4):
        variance = estimates(SPSA(samples=samples), 2000, 1000).var(dim=0)
        want = (W.square().sum() - W.square()) / samples
        assert torch.allclose(variance, want, rtol=0.2)


@pytest.mark.parametrize("kind", [SPSA, NES])
def test_estimate_does_not_depend_on_the_batch(kind):
    attack = kind(samples=3)
    assert torch.equal(estimates(attack, 6, 3), estimates(attack, 9, 3)[:6])
    assert torch.allclose(estimates(attack, 4, 2), estimates(attack, 8, 8)[:4], atol=1e-9)


@pytest.mark.parametrize("kind", [SPSA, NES])
def test_counts_probes_and_points(kind):
    net = small_net()
    x, y = examples(3, net)
    attack = kind(queries=25, samples=5)
    result = attack.run(FrozenModel(net, block=3), x, y, Linf(1e-4))
    assert result.forwards.tolist() == [1 + 22] * 3


@pytest.mark.parametrize("kind", [SPSA, NES])
@pytest.mark.parametrize("threat", [Linf(0.3), L2(1.5), L1(12.0)])
def test_finds_what_is_easy_to_find(kind, threat):
    net = small_net()
    x, y = examples(5, net)
    result = kind(queries=600, samples=20).run(FrozenModel(net, block=3), x, y, threat)
    assert int(result.success.sum()) >= 4


def test_spsa_starts_with_steps_of_its_rate_in_every_feature():
    model, y = linear(), torch.zeros(2, dtype=torch.int64)
    x = torch.full((2, 6), 0.5, dtype=torch.float64)
    attack = SPSA(queries=9, samples=4, step_size=0.02)
    moved = (attack.run(model, x, y, Linf(0.1)).x_adv - x).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.02), atol=1e-6)
