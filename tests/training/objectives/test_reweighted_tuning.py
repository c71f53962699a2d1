import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot, softmax

from holdfast.attacks import PGD
from holdfast.losses.divergence import kl
from holdfast.threats import Linf
from holdfast.training.objectives.pgd_at import PGDAT
from holdfast.training.objectives.reweighted_tuning import ReweightedTuning
from training.tiny import network
from training.visits import Course, passes_of

EPS = 0.1
ATTACK = PGD(steps=2, restarts=1, step_size="eps/4")
KINDS = list(itertools.product(["none", "adversarial", "clean-max"], [0.0, 6.0]))


@pytest.mark.parametrize(("reweight", "weight"), KINDS)
def test_declared_passes_are_the_counted_ones(reweight, weight):
    objective = ReweightedTuning(reweight=reweight, weight=weight, attack=ATTACK)
    counted = passes_of(Course(5), objective, network(), Linf(EPS), range(5))
    assert counted == tuple(objective.passes)


def test_with_neither_it_is_adversarial_training():
    course, found = Course(5), []
    plain = ReweightedTuning(reweight="none", weight=0.0, attack=ATTACK)
    for objective in (plain, PGDAT(attack=ATTACK)):
        model = network(norm=True)
        result = course.step(objective, model, Linf(EPS), range(5))
        result.loss.backward()
        found.append([result.loss, result.x_adv, *(p.grad for p in model.parameters())])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("reweight", "weight"), KINDS)
def test_the_loss_is_that_of_the_formula(reweight, weight):
    model, course = network(), Course(6)
    x, y, _, _ = course.show(range(6))
    objective = ReweightedTuning(reweight=reweight, weight=weight, attack=ATTACK)
    result = course.step(objective, model, Linf(EPS), range(6))
    clean, attacked = model(x), model(result.x_adv)
    share = {
        "none": torch.ones(6),
        "adversarial": softmax(attacked, dim=1).gather(1, y[:, None])[:, 0],
        "clean-max": softmax(clean, dim=1).amax(dim=1),
    }[reweight]
    share = share / share.sum()
    losses = cross_entropy(attacked, y, reduction="none") + weight * kl(attacked, clean)
    assert torch.allclose(result.loss, (share * losses).sum())


def test_the_divergence_vanishes_without_perturbation():
    course = Course(5)
    results = [
        course.step(ReweightedTuning(weight=weight, attack=ATTACK), network(), Linf(0.0), range(5))
        for weight in (0.0, 6.0)
    ]
    assert float(results[1].logs["divergence"]) == pytest.approx(0.0, abs=1e-7)
    assert torch.allclose(results[0].loss, results[1].loss)


@pytest.mark.parametrize(("reweight", "flows"), [("adversarial", False), ("clean-max", True)])
def test_where_the_gradient_flows_through_the_weights(reweight, flows):
    model, course = network(), Course(5)
    x, y, _, _ = course.show(range(5))
    objective = ReweightedTuning(reweight=reweight, weight=0.0, attack=ATTACK)
    result = course.step(objective, model, Linf(EPS), range(5))
    result.loss.backward()
    found = model[5].bias.grad.clone()
    model.zero_grad()
    answer = model(result.x_adv) if reweight == "adversarial" else model(x)
    p = softmax(answer, dim=1).detach()
    u = p.gather(1, y[:, None])[:, 0] if reweight == "adversarial" else p.amax(dim=1)
    losses = cross_entropy(model(result.x_adv), y, reduction="none")
    ((u / u.sum()) * losses).sum().backward()
    assert torch.allclose(found, model[5].bias.grad, atol=1e-6) is not flows


def test_soft_labels_serve_and_no_visit_is_needed():
    x, y, keys, _ = Course(4).show(range(4))
    soft = 0.8 * one_hot(y, 3) + 0.2 / 3
    objective = ReweightedTuning(attack=ATTACK)
    result = objective.loss(network(), x, soft, Linf(EPS), progress=0.5, keys=keys)
    assert torch.isfinite(result.loss)
    assert Linf(EPS).contains(result.x_adv, x).all()
