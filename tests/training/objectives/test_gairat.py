import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.threats import Linf
from holdfast.training.objectives.gairat import GAIRAT, Watched
from holdfast.training.objectives.pgd_at import PGDAT
from training.tiny import network
from training.visits import Course, passes_of

EPS = 0.1
NOW = GAIRAT(burn_in=0, steps=4)


def test_declared_passes_are_the_counted_ones():
    assert passes_of(Course(5), NOW, network(), Linf(EPS), range(5)) == tuple(NOW.passes)


def test_in_the_burn_in_it_is_adversarial_training_to_the_bit():
    attack = PGD(steps=4, restarts=1, step_size="eps/4")
    course, found = Course(5), []
    for objective in (GAIRAT(steps=4, burn_in=2), PGDAT(attack=attack, attack_mode="eval")):
        model = network(norm=True)
        result = course.step(objective, model, Linf(EPS), range(5), 1)
        result.loss.backward()
        found.append([result.loss, result.x_adv, *(p.grad for p in model.parameters())])
    assert all(map(torch.equal, *found))


def test_weights_are_those_of_the_formula_and_fall_with_distance():
    weights = GAIRAT(steps=10).weights(torch.arange(11))
    expected = [(1 + math.tanh(-1 + 5 * (1 - 2 * k / 10))) / 2 for k in range(11)]
    assert torch.allclose(weights, torch.tensor(expected))
    assert (weights.diff() < 0).all()
    assert float(GAIRAT(steps=10, shift=0.0).weights(torch.tensor(5))) == 0.5


def test_the_first_wrong_answer_counts():
    watched = Watched()
    y = torch.tensor([0, 0, 0, 0])
    answers = ([1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 0, 1])  # right (1) or wrong (0), per look
    for right in answers:
        logits = torch.tensor([[1.0, 0.0] if each else [0.0, 1.0] for each in right])
        assert torch.allclose(watched(logits, y), cross_entropy(logits, y, reduction="none"))
    assert watched.first_wrong().tolist() == [3, 1, 2, 0]


def test_steps_to_the_boundary_are_those_of_a_linear_model():
    """f = (w x, 0): an attack of step a from d steps over the margin after k steps."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        model.bias.zero_()
    threat = Linf(1.0, box=None)
    margins = torch.tensor([-0.05, 0.05, 0.15, 0.31, 5.0])
    x, y = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)
    x[:, 0] = margins
    watched = Watched()
    attack = PGD(steps=4, restarts=1, step_size=0.1, start="clean", loss=watched)
    with FrozenModel(model) as frozen:
        attack.perturb(frozen, x, y, threat, keys=Course(5).show(range(5))[2])
    assert watched.first_wrong().tolist() == [0, 1, 2, 4, 4]


def test_the_loss_is_the_weighted_mean():
    model, course = network(), Course(7)
    x, y, keys, _ = course.show(range(7))
    result = course.step(NOW, model, Linf(EPS), range(7))
    watched = Watched()
    attack = PGD(steps=4, restarts=1, step_size="eps/4", loss=watched)
    with FrozenModel(model) as frozen:
        x_adv = attack.perturb(frozen, x, y, Linf(EPS), keys=keys)
    weights = NOW.weights(watched.first_wrong())
    losses = cross_entropy(model(x_adv), y, reduction="none")
    assert len(weights.unique()) > 1
    assert torch.equal(x_adv, result.x_adv)
    assert torch.allclose(result.loss, (weights * losses).sum() / weights.sum())


def test_it_asks_for_a_visit_for_its_burn_in_only():
    x, y, keys, _ = Course(3).show(range(3))
    model, threat = network(), Linf(EPS)
    assert torch.isfinite(NOW.loss(model, x, y, threat, progress=0.0, keys=keys).loss)
    with pytest.raises(InputError, match="is needed by GAIRAT"):
        GAIRAT(steps=2).loss(model, x, y, threat, progress=0.0, keys=keys)
