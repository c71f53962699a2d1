import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.data.augment import Augment
from holdfast.threats import L1, L2, Linf
from holdfast.training.objectives.atta import ATTA
from holdfast.training.objectives.pgd_at import PGDAT
from training.tiny import network
from training.visits import Course, passes_of

EPS, STEP = 0.1, 0.04
ONE = ATTA(step_size=STEP)


@pytest.mark.parametrize("objective", [ONE, ATTA(steps=3, step_size=STEP)])
def test_declared_passes_are_the_counted_ones(objective):
    counted = passes_of(Course(5), objective, network(), Linf(EPS), range(5))
    assert counted == tuple(objective.passes)


def test_every_visit_goes_one_step_further():
    model, course, x_adv = network(), Course(4, augment=Augment()), None
    for epoch in range(4):
        x, y, _, _ = course.show(range(4), epoch)
        result = course.step(ONE, model, Linf(EPS), range(4), epoch)
        if x_adv is not None:
            probe = x_adv.clone().requires_grad_()
            loss = nn.functional.cross_entropy(model(probe), y, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, probe)
            expected = Linf(EPS).project(x_adv + STEP * gradient.sign(), x)
            assert torch.allclose(result.x_adv, expected, atol=1e-6)
        x_adv = result.x_adv


def test_four_visits_are_as_strong_as_an_attack_of_four_steps():
    model, course = network(), Course(9, augment=Augment())
    losses = [float(course.step(ONE, model, Linf(EPS), range(9), e).logs["loss"]) for e in range(4)]
    x, y, keys, _ = course.show(range(9), 3)
    attack = {"kind": "pgd", "steps": 4, "restarts": 1, "step_size": STEP}
    multi = PGDAT(attack=attack).loss(model, x, y, Linf(EPS), progress=0.5, keys=keys)
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(float(multi.logs["loss"]), rel=0.02)


@pytest.mark.parametrize("threat", [Linf(EPS), L2(0.7), L1(1.5)])
def test_inputs_are_in_the_threat_in_every_view(threat):
    model, course = network(), Course(6)
    for epoch in range(3):
        x, _, _, _ = course.show(range(6), epoch)
        result = course.step(ATTA(step_size="eps/2"), model, threat, range(6), epoch)
        assert threat.contains(result.x_adv, x).all()


def test_an_example_is_trained_on_alike_in_any_batch_and_order():
    model, whole, parts = network(), Course(7), Course(7)
    for epoch in range(3):
        together = whole.step(ONE, model, Linf(EPS), range(7), epoch).x_adv
        first = parts.step(ONE, model, Linf(EPS), [5, 2], epoch).x_adv
        rest = parts.step(ONE, model, Linf(EPS), [6, 0, 4, 1, 3], epoch).x_adv
        assert torch.allclose(together[[5, 2]], first, atol=1e-6)
        assert torch.allclose(together[[6, 0, 4, 1, 3]], rest, atol=1e-6)


def test_a_copied_memory_goes_on_as_the_original_does():
    model, course = network(), Course(6)
    for epoch in range(2):
        course.step(ONE, model, Linf(EPS), range(6), epoch)
    resumed = course.copy()
    results = [each.step(ONE, model, Linf(EPS), range(6), 2) for each in (course, resumed)]
    assert torch.equal(results[0].x_adv, results[1].x_adv)
    assert torch.equal(results[0].loss, results[1].loss)
    other = Course(6).step(ONE, model, Linf(EPS), range(6), 2)
    assert not torch.equal(other.x_adv, results[0].x_adv)


def test_nothing_is_written_for_a_part_that_does_not_count():
    model, course = network(), Course(6)
    course.step(ONE, model, Linf(EPS), range(6), 0)
    before = {name: each.clone() for name, each in course.memory.tensors.items()}
    course.memory.recording = False
    course.step(ONE, model, Linf(EPS), range(6), 1)
    assert all(torch.equal(before[name], course.memory.tensors[name]) for name in before)


@pytest.mark.parametrize(("mode", "updates"), [("eval", 1), ("batch", 1), ("train", 2)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model = network(norm=True)
    objective = ATTA(step_size=STEP, attack_mode=mode)
    Course(8).step(objective, model, Linf(EPS), range(8))
    assert int(model[1].num_batches_tracked) == updates


def test_vectors_a_single_example_and_two_classes_work():
    course = Course(3, augment=Augment())
    x, _, keys, visit = course.show([1])
    x = x.flatten(1)
    model = nn.Linear(x.shape[1], 2)
    result = ONE.loss(model, x, torch.tensor([1]), Linf(EPS), progress=0.0, keys=keys, visit=visit)
    assert Linf(EPS).contains(result.x_adv, x).all()
    assert torch.isfinite(result.loss)


def test_double_precision_works():
    model, course = network().double(), Course(4)
    result = course.step(ONE, model, Linf(EPS), range(4), dtype=torch.float64)
    assert result.x_adv.dtype == torch.float64


def test_it_asks_for_a_visit():
    x, y, keys, _ = Course(3).show(range(3))
    with pytest.raises(InputError, match="is needed by ATTA"):
        ONE.loss(network(), x, y, Linf(EPS), progress=0.0, keys=keys)
    with pytest.raises(InputError, match="step_size"):
        ATTA(step_size="eps+1")
