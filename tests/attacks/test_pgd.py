"""PGD: the update by hand, restarts, targets, momentum, schedules."""

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy

from holdfast.attacks import FGSM, PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.losses.margin import Margin
from holdfast.schedules.cosine import Cosine
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    frozen = FrozenModel(net, block=8)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


def by_hand(net, x, y, eps, step, steps):
    """The published update for Linf, from the clean input; every iterate, the last included."""
    point, iterates = x.clone(), []
    for _ in range(steps):
        point.requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(net(point), y, reduction="sum"), point)
        iterates.append(point.detach())
        delta = (point.detach() + step * grad.sign() - x).clamp(-eps, eps)
        point = (x + delta).clamp(0, 1)
    return [*iterates, point]


def test_iterates_equal_the_published_update():
    net = small_net()
    x, y = examples(5, net)
    for threat, eps in ((Linf(0.004), 0.004), (Linf(0.02), 0.02)):
        result = run(PGD(steps=6, restarts=1, step_size=0.003, start="clean"), net, x, y, threat)
        iterates = by_hand(net, x, y, eps, 0.003, 6)
        for i in range(5):
            logits = torch.stack([net(point[i : i + 1])[0] for point in iterates]).detach()
            other = logits.clone()
            other[:, y[i]] = -1e9
            margins = logits[:, y[i]] - other.amax(1)
            fooled = (margins <= 0).nonzero().flatten()
            best = int(fooled[0]) if len(fooled) else int(margins.argmin())
            assert torch.allclose(result.x_adv[i], iterates[best][i], atol=1e-6)
            assert bool(result.success[i]) == bool(len(fooled))


def test_one_step_of_a_full_radius_from_the_clean_input_is_fgsm():
    net = small_net()
    x, y = examples(7, net)
    for threat in (Linf(0.03), L2(0.2), L1(1.0)):
        pgd = run(PGD(steps=1, restarts=1, step_size="eps", start="clean"), net, x, y, threat)
        fgsm = run(FGSM(), net, x, y, threat)
        assert torch.equal(pgd.x_adv, fgsm.x_adv)
        assert torch.equal(pgd.success, fgsm.success)


@pytest.mark.parametrize("threat", [Linf(0.012), L2(0.1), L1(0.6)])
def test_accuracy_never_rises_with_restarts_and_successes_are_nested(threat):
    net = small_net()
    x, y = examples(40, net)
    results = [run(PGD(steps=3, restarts=r), net, x, y, threat) for r in (1, 2, 5)]
    for fewer, more in itertools.pairwise(results):
        assert bool((more.success | ~fewer.success).all())
        assert torch.equal(more.x_adv[fewer.success], fewer.x_adv[fewer.success])
        assert bool((more.margin <= fewer.margin).all())


@pytest.mark.parametrize("threat", [Linf(0.012), L2(0.1), L1(0.6)])
def test_accuracy_never_rises_with_steps_from_the_same_starts(threat):
    net = small_net()
    x, y = examples(24, net)
    size = 0.25 * float(threat.radius)
    results = [run(PGD(steps=s, restarts=1, step_size=size), net, x, y, threat) for s in (1, 3, 6)]
    for fewer, more in itertools.pairwise(results):
        assert bool((more.success | ~fewer.success).all())
        assert torch.equal(more.x_adv[fewer.success], fewer.x_adv[fewer.success])
        assert bool((more.margin <= fewer.margin).all())
    assert int(results[2].success.sum()) > int(results[0].success.sum())


@pytest.mark.parametrize("start", ["clean", "random"])
def test_it_attains_the_largest_logistic_loss_of_a_linear_model(start):
    """softplus(-m + eps |w|_q) for the margin m; of l_inf after steps of 2 eps in all."""
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Linear(9, 2).double()
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 9, generator=generator))
    x = torch.rand(30, 9, generator=generator).double()
    y, keys = torch.arange(30) % 2, Keys.of(0, range(30))
    w = model.weight.diff(dim=0)[0]
    margin = (model(x).diff(dim=1)[:, 0] * (2 * y - 1)).detach()

    def reached(threat, steps):
        attack = PGD(steps=steps, restarts=1, step_size="eps/4", start=start)
        with FrozenModel(model) as frozen:
            x_adv = attack.perturb(frozen, x, y, threat, keys=keys)
        return cross_entropy(model(x_adv), y, reduction="none").detach()

    for threat, q, steps in ((Linf(0.1, box=None), 1, 8), (L2(0.3, box=None), 2, 40)):
        slack = float(threat.radius) * torch.linalg.vector_norm(w, q)
        worst = torch.nn.functional.softplus(slack - margin)
        assert torch.allclose(reached(threat, steps), worst, rtol=1e-5)
    slack = 0.1 * w.abs().sum()
    short = reached(Linf(0.1, box=None), 3 if start == "clean" else 7)
    assert (short < torch.nn.functional.softplus(slack - margin) * (1 - 1e-3)).any()


class Fork(torch.nn.Module):
    """One input between two ends of the threat: at the upper the loss is larger and the answer
    right, at the lower the loss is smaller and the answer wrong."""

    def forward(self, x):
        t = (x[:, 0] - 0.5) / 0.3
        up, down = t.relu(), (-t).relu()
        return torch.stack([3 - 2.9 * up - 3 * down, 0.1 * down, 5 * up - 5], dim=1)


def test_a_misclassified_point_is_kept_rather_than_one_of_larger_loss():
    model, x, y = Fork(), torch.full((40, 1), 0.5), torch.zeros(40, dtype=torch.int64)
    once, often = (
        run(PGD(steps=5, restarts=r, step_size="eps/2"), model, x, y, Linf(0.3)) for r in (1, 12)
    )
    losses = [cross_entropy(model(each.x_adv), y, reduction="none") for each in (once, often)]
    turned = ~once.success  # by the largest loss, the first run would be kept
    assert 5 < int(turned.sum()) < 35
    assert bool(often.success.all())
    assert bool((losses[1] < losses[0] - 0.1)[turned].all())


def test_multi_targeted_contains_each_targeted_success():
    net = small_net()
    x, y = examples(30, net)
    multi = run(PGD(steps=5, restarts=1, targeting="multi", start="clean"), net, x, y, Linf(0.02))
    plain = PGD(steps=5, restarts=1, start="clean")
    for shift in range(1, 5):
        targets = (y + shift) % 5
        one = run(plain, net, x, y, Linf(0.02), targets=targets)
        assert bool((multi.success | ~one.success).all()), shift
        with torch.no_grad():
            assert torch.equal(net(one.x_adv).argmax(1) == targets, one.success)
    few = run(PGD(steps=5, targeting="multi", most_targets=2, restarts=1), net, x, y, Linf(0.0))
    assert few.backwards.tolist() == [10] * 30


def test_targets_already_reached_count_and_cost_one_pass():
    net = small_net()
    x, y = examples(4, net)
    result = run(PGD(steps=2, restarts=1), net, x, (y + 1) % 5, Linf(0.01), targets=y)
    assert bool(result.success.all())
    assert result.forwards.tolist() == [1] * 4


@pytest.mark.parametrize("weight", [0.9, 1.0])
def test_momentum_follows_the_published_recursion(weight):
    net = small_net()
    x, y = examples(3, net)
    point, velocity = x.clone(), torch.zeros_like(x)
    for _ in range(4):
        point.requires_grad_(True)
        (grad,) = torch.autograd.grad(cross_entropy(net(point), y, reduction="sum"), point)
        velocity = weight * velocity + grad / grad.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        point = (point.detach() + 0.001 * velocity.sign()).clamp(0, 1)
        point = torch.max(torch.min(point, x + 0.003), x - 0.003).clamp(0, 1)
    attack = PGD(steps=4, restarts=1, step_size=0.001, start="clean", momentum=weight)
    with FrozenModel(net) as frozen:
        found = attack.perturb(frozen, x, y, Linf(0.003), keys=Keys.of(0, range(3)))
    assert torch.allclose(found, point, atol=1e-7)


def test_momentum_above_one_is_refused():
    with pytest.raises(InputError, match="momentum"):
        PGD(momentum=1.1)


def test_schedule_scales_each_rows_own_step():
    net = small_net()
    x, y = examples(3, net)
    attack = PGD(steps=2, restarts=1, step_size=0.01, start="clean", schedule=Cosine(value=1.0))
    with FrozenModel(net) as frozen:
        found = attack.perturb(frozen, x, y, Linf(1.0, box=None), keys=Keys.of(0, range(3)))
    moved = (found - x).abs().amax(dim=(1, 2, 3))
    assert torch.allclose(moved, torch.full((3,), 0.01 + 0.005), atol=1e-6)


def test_other_losses_and_recipe_round_trip():
    attack = PGD(steps=3, restarts=2, loss=Margin(), step_size="eps/4", momentum=0.5)
    assert build(PGD, to_dict(attack)) == attack
    net = small_net()
    x, y = examples(6, net)
    assert bool((run(attack, net, x, y, Linf(0.02)).size <= 0.02 + 1e-6).all())


@pytest.mark.parametrize("bad", ["eps4", "foo", "-0.1", 0.0, "eps/0", "2eps", "eps*2"])
def test_step_sizes_that_are_none(bad):
    with pytest.raises(InputError, match="step_size"):
        PGD(step_size=bad)


def test_infinite_radius_needs_a_step_in_input_units():
    net = small_net()
    x, y = examples(2, net)
    with pytest.raises(InputError, match="infinite"):
        run(PGD(steps=1, restarts=1, start="clean"), net, x, y, L2("inf"))
    run(PGD(steps=1, restarts=1, start="clean", step_size=0.1), net, x, y, L2("inf"))
