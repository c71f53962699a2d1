import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot, softmax

from holdfast.core.errors import InputError
from holdfast.data.augment import Augment
from holdfast.threats import Linf
from holdfast.training.objectives.adaptive_targets import AdaptiveTargets
from holdfast.training.objectives.atta import ATTA
from training.tiny import network
from training.visits import Course, passes_of

EPS, STEP = 0.1, 0.04
NOW = {"step_size": STEP, "warmup": 0}
BOTH = AdaptiveTargets(reweight="adversarial", **NOW)


@pytest.mark.parametrize("reweight", ["none", "adversarial", "clean"])
def test_declared_passes_are_the_counted_ones(reweight):
    objective = AdaptiveTargets(reweight=reweight, **NOW)
    counted = passes_of(Course(5), objective, network(), Linf(EPS), range(5))
    assert counted == tuple(objective.passes)
    assert objective.passes.forwards == (3 if reweight == "clean" else 2)


def gradients(course, objective, epochs):
    """Losses, inputs and weight gradients of several epochs."""
    found, model = [], network(norm=True)
    for epoch in range(epochs):
        result = course.step(objective, model, Linf(EPS), range(6), epoch)
        model.zero_grad()
        result.loss.backward()
        found += [result.loss.detach(), result.x_adv, *(p.grad.clone() for p in model.parameters())]
    return found


@pytest.mark.parametrize(
    "objective",
    [
        AdaptiveTargets(beta=1.0, **NOW),
        AdaptiveTargets(adaptive=False, **NOW),
        AdaptiveTargets(reweight="adversarial", step_size=STEP, warmup=3),
    ],
)
def test_without_effect_it_is_atta_to_the_bit(objective):
    plain = ATTA(step_size=STEP, reset=None, attack_mode="train")
    ours, theirs = (gradients(Course(6), each, 3) for each in (objective, plain))
    assert all(map(torch.equal, ours, theirs))


def test_the_loss_is_that_of_the_algorithm():
    model, course = network(), Course(5, augment=Augment())
    moving = one_hot(course.data.labels, 3).float()
    for epoch in range(3):
        _, y, _, _ = course.show(range(5), epoch)
        result = course.step(BOTH, model, Linf(EPS), range(5), epoch)
        logits = model(result.x_adv).detach()
        p = softmax(logits, dim=1)
        moving = 0.9 * moving + 0.1 * p
        targets = 0.1 * one_hot(y, 3) + 0.9 * moving
        weights = p.gather(1, y[:, None])[:, 0]
        losses = cross_entropy(logits, targets, reduction="none")
        expected = (weights * losses).sum() / weights.sum()
        assert torch.allclose(result.loss, expected, rtol=1e-5)
        assert torch.allclose(result.logs["weight"], weights.mean())


def test_no_gradient_flows_through_weights_and_targets():
    model, course = network(), Course(5, augment=Augment())
    result = course.step(BOTH, model, Linf(EPS), range(5))
    result.loss.backward()
    found = [p.grad.clone() for p in model.parameters()]
    logits = model(result.x_adv)
    p = softmax(logits.detach(), dim=1)
    y = course.data.labels
    targets = 0.1 * one_hot(y, 3) + 0.9 * (0.9 * one_hot(y, 3) + 0.1 * p)
    weights = p.gather(1, y[:, None])[:, 0]
    model.zero_grad()
    losses = cross_entropy(logits, targets, reduction="none")
    ((weights * losses).sum() / weights.sum()).backward()
    expected = [p.grad for p in model.parameters()]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_averages_begin_after_the_warmup():
    model, course = network(), Course(4)
    objective = AdaptiveTargets(step_size=STEP, warmup=2)
    for epoch in range(2):
        course.step(objective, model, Linf(EPS), range(4), epoch)
        assert "target" not in course.memory.tensors
    course.step(objective, model, Linf(EPS), range(4), 2)
    sums = course.memory.tensors["target"].sum(dim=1)
    assert torch.allclose(sums, torch.ones(4))


def test_the_answer_before_the_step_is_another():
    model, one, other = network(), Course(4), Course(4)
    results = [
        course.step(AdaptiveTargets(answer=answer, **NOW), model, Linf(EPS), range(4))
        for course, answer in ((one, "after"), (other, "before"))
    ]
    assert torch.equal(results[0].x_adv, results[1].x_adv)
    after, before = (course.memory.tensors["target"] for course in (one, other))
    y = one.data.labels
    assert (before.gather(1, y[:, None]) >= after.gather(1, y[:, None]) - 1e-6).all()
    assert not torch.equal(after, before)


def test_clean_weights_are_those_of_the_clean_inputs():
    model, course = network(), Course(5)
    x, y, _, _ = course.show(range(5))
    objective = AdaptiveTargets(adaptive=False, reweight="clean", **NOW)
    result = course.step(objective, model, Linf(EPS), range(5))
    weights = softmax(model(x), dim=1).gather(1, y[:, None])[:, 0]
    losses = cross_entropy(model(result.x_adv), y, reduction="none")
    assert torch.allclose(result.loss, (weights * losses).sum() / weights.sum())


def test_hard_examples_weigh_less():
    """Weights lie in (0, 1) and rise as the loss falls."""
    model, course = network(), Course(9)
    result = course.step(BOTH, model, Linf(EPS), range(9))
    y = course.data.labels
    logits = model(result.x_adv)
    weights = BOTH._weights(model, result.x_adv, y, logits)
    losses = cross_entropy(logits, y, reduction="none")
    assert ((weights > 0) & (weights < 1)).all()
    assert torch.equal(weights.argsort(), losses.argsort(descending=True))


def test_a_copied_memory_goes_on_as_the_original_does():
    model, course = network(), Course(6)
    for epoch in range(2):
        course.step(BOTH, model, Linf(EPS), range(6), epoch)
    resumed = course.copy()
    a, b = (each.step(BOTH, model, Linf(EPS), range(6), 2) for each in (course, resumed))
    assert torch.equal(a.loss, b.loss)
    assert torch.equal(a.x_adv, b.x_adv)


def test_soft_labels_serve():
    course = Course(4)
    x, y, keys, visit = course.show(range(4))
    soft = 0.8 * one_hot(y, 3) + 0.2 / 3
    result = BOTH.loss(network(), x, soft, Linf(EPS), progress=0.5, keys=keys, visit=visit)
    assert torch.isfinite(result.loss)


def test_it_asks_for_a_visit():
    x, y, keys, _ = Course(3).show(range(3))
    with pytest.raises(InputError, match="is needed by AdaptiveTargets"):
        BOTH.loss(network(), x, y, Linf(EPS), progress=0.0, keys=keys)
