"""Auto-PGD: checkpoints, step size, targets, averaging, and the optimum of linear models."""

import pytest
import torch
from torch import nn

from holdfast.attacks.apgd import APGD, _windows, apgd_ce, apgd_t
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses import DLR, Margin
from holdfast.threats import L1, L2, Linf, Spatial
from nets import examples, small_net


def run(attack, model, x, y, threat, **options):
    keys = Keys.of(4, torch.arange(len(x)))
    return attack.run(FrozenModel(model, block=3), x, y, threat, keys=keys, **options)


def test_checkpoints_are_the_published_ones():
    ends = _windows(100)
    assert ends.nonzero().flatten().tolist() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert ends[ends > 0].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]


def linear(features=6, classes=3, seed=0):
    model = nn.Linear(features, classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.weight.copy_(torch.randn(classes, features, generator=generator))
        model.bias.copy_(torch.randn(classes, generator=generator))
    return model


@pytest.mark.parametrize(
    ("threat", "q", "slack"),
    [
        (Linf(0.3, box=None), 1, 1e-3),
        (L2(0.5, box=None), 2, 1e-3),
        (L1(0.8, box=None), float("inf"), 0.5),  # a step moves several coordinates
    ],
)
@pytest.mark.slow
def test_the_worst_margin_of_a_linear_model_is_reached(threat, q, slack):
    model = linear()
    x = torch.rand(5, 6, generator=torch.Generator().manual_seed(1)) * 20
    y = model(x).argmax(1)
    found = run(APGD(loss=Margin(), most_targets=2), model, x, y, threat)
    rows = torch.arange(5)
    with torch.no_grad():
        gap = model.weight[y][:, None] - model.weight
        reach = torch.linalg.vector_norm(gap, ord=q, dim=2) * threat.radius
        logits = model(x)
        worst = logits[rows, y][:, None] - logits - reach
    worst[rows, y] = float("inf")
    assert torch.equal(found.success, worst.amin(1) <= 0)
    standing = ~found.success
    assert int(standing.sum()) >= 3
    assert bool((found.size[standing] >= 0.99 * threat.radius).all())
    assert bool((found.margin[standing] >= worst.amin(1)[standing] - 1e-4).all())
    assert torch.allclose(found.margin[standing], worst.amin(1)[standing], atol=slack)


def test_steps_halve_where_the_loss_stands_still():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.stack([x.flatten(1)[:, 0] * 0 + 1, x.flatten(1)[:, 0] * 0], dim=1)

    steps = []

    class Watched(APGD):
        def advance(self, rows, seen):
            point = super().advance(rows, seen)
            steps.append(float(rows.memory["eta"][0]))
            return point

    x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    run(Watched(steps=100), Flat(), x, y, Linf(0.1))
    changes = [k for k in range(1, 100) if steps[k] != steps[k - 1]]
    assert steps[0] == pytest.approx(0.2)
    assert changes == [22, 41, 57, 70, 80, 87, 93, 99]
    assert steps[-1] == pytest.approx(0.2 / 2**8)


def test_targets_are_tried_likeliest_first_and_no_more_than_there_are():
    attack = APGD(steps=3, restarts=2, most_targets=9, loss=DLR())
    assert attack.runs(5) == 8
    logits, y = torch.tensor([[0.0, 3.0, 9.0, 5.0, 1.0]]), torch.tensor([2])
    aims = [int(attack.target(torch.tensor([run]), y, logits)) for run in range(8)]
    assert aims == [3, 3, 1, 1, 4, 4, 0, 0]


def test_gradients_are_averaged_and_paid_for():
    class Noisy(nn.Module):
        calls = 0

        def forward(self, x):
            Noisy.calls += 1
            slope = 1.0 if Noisy.calls % 2 else 3.0
            first = slope * x.flatten(1).sum(1)
            return torch.stack([first + 50, torch.zeros_like(first)], dim=1)

    seen = []

    class Watched(APGD):
        def advance(self, rows, told):
            seen.append(told.slope.clone())
            return super().advance(rows, told)

    x, y = torch.full((1, 4), 0.5), torch.tensor([0])
    found = run(Watched(steps=2, eot=2, loss=Margin()), Noisy(), x, y, Linf(0.1))
    assert torch.allclose(seen[0], torch.full_like(seen[0], -2.0))
    assert (int(found.forwards), int(found.backwards)) == (1 + 2 * 2 + 1, 2 * 2)


def test_l1_runs_end_inside_though_they_begin_wide():
    net = small_net()
    x, y = examples(4, net)
    sizes = []

    class Watched(APGD):
        def advance(self, rows, seen):
            sizes.append((rows.point - rows.origin).flatten(1).abs().sum(1).amax())
            return super().advance(rows, seen)

    found = run(Watched(steps=10), net, x, y, L1(0.5))
    assert max(sizes) == pytest.approx(1.5, rel=1e-3)
    assert bool((found.size <= 0.5 + 1e-6).all())
    assert bool((found.forwards[~found.success] == 1 + 12 + 1).all())


def test_more_steps_towards_more_targets_break_no_fewer():
    net = small_net()
    x, y = examples(12, net)
    few = run(apgd_t(20, 1), net, x, y, Linf(0.05))
    many = run(apgd_t(20, 4), net, x, y, Linf(0.05))
    assert bool((many.success | ~few.success).all())


def test_what_it_cannot_search():
    net = small_net()
    x, y = examples(2, net)
    for threat in (Linf(float("inf")), Linf(torch.full((1, 2, 7, 6), 0.1)), Spatial(rotation=3)):
        with pytest.raises((UnsupportedThreat, AttributeError)):
            run(apgd_ce(), net, x, y, threat)
    with pytest.raises(InputError, match="at least 3 classes"):
        run(APGD(loss=DLR()), nn.Linear(4, 2), torch.rand(2, 4), torch.tensor([0, 1]), Linf(0.1))
