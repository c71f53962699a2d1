import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from holdfast.core.errors import InputError
from holdfast.losses.divergence import kl
from holdfast.threats import L2, Linf
from holdfast.training.objectives.sat import SAT
from holdfast.training.objectives.trades import TRADES
from training.tiny import network
from training.visits import Course, passes_of

EPS = 0.1
NOW = SAT(steps=2, warmup=0)


def test_declared_passes_are_the_counted_ones():
    assert passes_of(Course(5), NOW, network(), Linf(EPS), range(5)) == tuple(NOW.passes)


def test_in_the_warmup_it_is_trades_to_the_bit():
    course, losses, gradients = Course(5), [], []
    for objective in (SAT(steps=2, warmup=3), TRADES(steps=2, step_size="eps/4")):
        model = network(norm=True)
        result = course.step(objective, model, Linf(EPS), range(5), 2)
        result.loss.backward()
        losses += [result.loss, result.x_adv]
        gradients.append([p.grad for p in model.parameters()])
    assert torch.equal(losses[0], losses[2])
    assert torch.equal(losses[1], losses[3])
    assert all(map(torch.equal, *gradients))


def test_the_loss_is_that_of_the_formula():
    model, course = network(), Course(5)
    targets = one_hot(course.data.labels, 3).float()
    for epoch in range(3):
        x, _, _, _ = course.show(range(5), epoch)
        result = course.step(NOW, model, Linf(EPS), range(5), epoch)
        clean = model(x)
        targets = 0.9 * targets + 0.1 * clean.softmax(dim=1).detach()
        weights = targets.amax(dim=1)
        fit = cross_entropy(clean, targets, reduction="none")
        fit = (weights * fit).sum() / weights.sum()
        expected = fit + 6 * kl(model(result.x_adv), clean).mean()
        assert torch.allclose(result.loss, expected, rtol=1e-5)
        assert torch.allclose(result.logs["weight"], weights.mean())


def test_momentum_one_is_trades():
    course = Course(5)
    for epoch in range(2):
        ours, theirs = (
            course.step(each, network(), Linf(EPS), range(5), epoch)
            for each in (SAT(steps=2, warmup=0, momentum=1.0), TRADES(steps=2, step_size="eps/4"))
        )
        assert torch.allclose(ours.loss, theirs.loss, rtol=1e-6)


def test_a_wrong_label_is_unlearned_and_weighs_little_on_the_way():
    model, course = network(), Course(6)
    x, _, _, _ = course.show(range(6))
    right = model(x).argmax(dim=1)
    course.data.labels[:] = right
    course.data.labels[2] = (right[2] + 1) % 3
    with torch.no_grad():
        for parameter in (model[5].weight, model[5].bias):
            parameter.mul_(200)  # answers near certainty
    ratio = []
    for _ in range(14):
        course.step(NOW, model, Linf(EPS), range(6))
        targets = course.memory.tensors["target"]
        ratio.append(float(targets.amax(dim=1)[2] / targets.amax(dim=1).mean()))
    assert targets[2].argmax() == right[2]
    assert min(ratio) < 0.65
    assert ratio[-1] > min(ratio)


def test_targets_stay_probability_vectors_and_survive_a_copy():
    model, course = network(), Course(6)
    for epoch in range(2):
        course.step(NOW, model, Linf(EPS), [4, 1, 5], epoch)
    resumed = course.copy()
    a, b = (each.step(NOW, model, Linf(EPS), [1, 2, 4], 2) for each in (course, resumed))
    assert torch.equal(a.loss, b.loss)
    sums = course.memory.tensors["target"].sum(dim=1)
    assert torch.allclose(sums[[1, 2, 4, 5]], torch.ones(4))
    assert torch.equal(sums[[0, 3]], torch.zeros(2))


def test_soft_labels_and_other_norms_serve():
    x, y, keys, visit = Course(4).show(range(4))
    soft = 0.8 * one_hot(y, 3) + 0.2 / 3
    result = NOW.loss(network(), x, soft, L2(0.5), progress=0.5, keys=keys, visit=visit)
    assert L2(0.5).contains(result.x_adv, x).all()


def test_it_asks_for_a_visit():
    x, y, keys, _ = Course(3).show(range(3))
    with pytest.raises(InputError, match="is needed by SAT"):
        NOW.loss(network(), x, y, Linf(EPS), progress=0.0, keys=keys)
