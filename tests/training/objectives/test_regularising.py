import pytest
import torch

from holdfast.attacks import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses.divergence import DIVERGENCES
from holdfast.threats import Linf
from holdfast.training.objectives.regularising import both_logits, first_point, regularised
from training.tiny import examples, network


def test_normal_starts_are_noise_of_a_thousandth_around_the_input():
    x, keys = torch.rand(3, 4000, dtype=torch.float64), Keys.of(0, range(3))
    moved = first_point("normal", x, Linf(0.1), keys) - x
    # 12,000 normals with fixed keys, five standard errors
    assert moved.std().item() == pytest.approx(0.001, rel=5 / 24000**0.5)
    assert abs(moved.mean().item()) < 5 * 0.001 / 12000**0.5
    part = first_point("normal", x[1:], Linf(0.1), keys[1:]) - x[1:]
    assert torch.equal(part, moved[1:])


def test_uniform_starts_are_those_of_pgd():
    data, model, threat = examples(5), network(), Linf(0.1)
    x, y, keys = data.inputs(), data.labels, Keys.of(3, data.index)
    attack = PGD(steps=2, restarts=1)
    start = first_point("uniform", x, threat, keys)
    frozen = FrozenModel(model)
    given = attack.perturb(frozen, x, y, threat, keys=keys, start=start)
    assert torch.equal(given, attack.perturb(frozen, x, y, threat, keys=keys))
    assert first_point("clean", x, threat, keys) is x


def test_a_joint_forward_is_one_for_batch_norm():
    data = examples(6)
    x, x_adv = data.inputs(), data.inputs().flip(0) * 0.8
    apart, joined = network(norm=True), network(norm=True)
    clean, _ = both_logits(apart, x, x_adv)
    assert int(apart[1].num_batches_tracked) == 2
    together = both_logits(joined, x, x_adv, joint=True)
    assert int(joined[1].num_batches_tracked) == 1
    assert torch.equal(torch.cat(together), network(norm=True)(torch.cat([x, x_adv])))
    assert not torch.allclose(together[0], clean)
    still = network(norm=True).eval()
    pairs = (torch.cat(both_logits(still, x, x_adv, joint=each)) for each in (False, True))
    torch.testing.assert_close(*pairs)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_batch_said_twice_changes_neither_loss_nor_gradient(divergence):
    model, data = network().double(), examples(5)
    x, y = data.inputs().double(), data.labels
    found = []
    for times in (1, 2):
        inputs, labels = x.repeat(times, 1, 1, 1), y.repeat(times)
        clean, perturbed = both_logits(model, inputs, inputs * 0.9)
        options = {"divergence": divergence, "weight": 3.0, "label_smoothing": 0.1}
        loss, logs = regularised(clean, labels, clean, perturbed, **options)
        found.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
        assert logs["loss"] == loss
        assert loss == logs["cross_entropy"] + 3 * logs["divergence"]
        assert not any(each.requires_grad for each in logs.values())
    for once, twice in zip(*found, strict=True):
        torch.testing.assert_close(once, twice)
