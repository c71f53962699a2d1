import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import PGD
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.data.augment import Augment
from holdfast.threats import L2, Linf
from holdfast.training.objectives.iat import IAT
from holdfast.training.objectives.pgd_at import PGDAT
from training.tiny import network
from training.visits import Course, passes_of

EPS = 0.1
ATTACK = PGD(steps=2, restarts=1, step_size="eps/4")
FAST = IAT(attack=ATTACK, warmup=0)


def test_passes_are_declared_as_the_most_that_can_come():
    most = tuple(FAST.passes)
    assert most == (10, 7)
    for epoch in range(3):
        forwards, backwards = passes_of(Course(5), FAST, network(), Linf(EPS), range(5), epoch)
        assert forwards <= most[0]
        assert backwards <= most[1]
    train = IAT(attack=ATTACK, warmup=0, attack_mode="train")
    assert passes_of(Course(5), train, network(), Linf(EPS), range(5)) == most
    unmixed = IAT(attack=ATTACK, warmup=0, attack_mode="train", mixed=False)
    assert passes_of(Course(5), unmixed, network(), Linf(EPS), range(5)) == tuple(unmixed.passes)


def known(radii, size=4):
    """A linear model that keeps its answer up to exactly these linf radii, and the examples."""
    model = nn.Linear(size, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([torch.ones(size), torch.zeros(size)]))
        model.bias.zero_()
    x = radii[:, None] * torch.ones(size)
    return model, x, torch.zeros(len(radii), dtype=torch.int64)


@pytest.mark.slow
def test_radii_converge_to_those_of_the_model():
    radii = torch.tensor([0.02, 0.08, 0.13, 0.3, 0.21])
    model, x, y = known(radii)
    course = Course(5, augment=Augment())
    objective = IAT(
        attack=PGD(steps=6, restarts=1, step_size="eps/2"), increment=0.01, rate=0.5, warmup=0
    )
    _, _, keys, visit = course.show(range(5))
    for _ in range(60):
        objective.loss(model, x, y, Linf(EPS, box=None), progress=0.5, keys=keys, visit=visit)
    kept = course.memory.tensors["radius"]
    assert (kept <= radii).all()
    assert (kept >= radii - 0.01 - 1e-6).all()


def test_a_lost_example_goes_to_radius_zero_and_no_further():
    radii = torch.tensor([-0.1, 0.5])
    model, x, y = known(radii)
    course = Course(2, augment=Augment())
    objective = IAT(attack=ATTACK, increment=0.04, rate=1.0, warmup=0, largest=0.25)
    _, _, keys, visit = course.show(range(2))
    trail = []
    for _ in range(6):
        result = objective.loss(
            model, x, y, Linf(EPS, box=None), progress=0.5, keys=keys, visit=visit
        )
        trail.append(course.memory.tensors["radius"].tolist())
    lost, safe = (list(each) for each in zip(*trail, strict=True))
    assert lost == pytest.approx([0.06, 0.02, 0.0, 0.0, 0.0, 0.0], abs=1e-6)
    assert safe == pytest.approx([0.14, 0.18, 0.22, 0.25, 0.25, 0.25], abs=1e-6)
    assert torch.equal(result.x_adv[0], x[0])


def test_examples_are_attacked_with_their_own_radii():
    radii = torch.tensor([0.3, 0.115, 0.02])
    model, x, y = known(radii)
    course = Course(3, augment=Augment())
    attack = PGD(steps=8, restarts=1, step_size="eps")
    objective = IAT(attack=attack, increment=0.03, rate=0.1, warmup=0)
    _, _, keys, visit = course.show(range(3))
    threat = Linf(EPS, box=None)
    result = objective.loss(model, x, y, threat, progress=0.5, keys=keys, visit=visit)
    moves = (result.x_adv - x).abs().amax(dim=1)
    assert torch.allclose(moves, torch.tensor([0.13, 0.1, 0.07]), atol=1e-6)
    expected = 0.9 * EPS + 0.1 * moves
    assert torch.allclose(course.memory.tensors["radius"], expected, atol=1e-6)


def test_the_warmup_is_adversarial_training_and_keeps_no_radius():
    course, found = Course(5), []
    for objective in (IAT(attack=ATTACK), PGDAT(attack=ATTACK, attack_mode="eval")):
        result = course.step(objective, network(), Linf(EPS), range(5), 4)
        found.append([result.loss, result.x_adv])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*found, strict=True))
    assert "radius" not in course.memory.tensors


def test_examples_that_are_wrong_are_trained_on_without_attack():
    model, course = network(), Course(8)
    x, y, _, _ = course.show(range(8))
    wrong = model(x).argmax(dim=1) != y
    assert 0 < int(wrong.sum()) < 8
    result = course.step(FAST, model, Linf(EPS), range(8))
    still = (result.x_adv == x).flatten(1).all(dim=1)
    assert torch.equal(still, wrong)
    assert torch.equal(result.loss, cross_entropy(model(result.x_adv), y))
    always = IAT(attack=ATTACK, warmup=0, mixed=False)
    result = Course(8).step(always, model, Linf(EPS), range(8))
    assert not (result.x_adv == x).flatten(1).all(dim=1).any()


def test_all_rows_at_once_find_what_some_rows_find():
    model, some, whole = network(), Course(9), Course(9)
    everywhere = IAT(attack=ATTACK, warmup=0, attack_mode="batch")
    for epoch in range(3):
        a = some.step(FAST, model, Linf(EPS), range(9), epoch)
        b = whole.step(everywhere, model, Linf(EPS), range(9), epoch)
        assert torch.allclose(a.x_adv, b.x_adv, atol=1e-6)
    assert torch.allclose(some.memory.tensors["radius"], whole.memory.tensors["radius"])


def test_radii_follow_examples_through_batches_and_copies():
    model, whole, parts = network(), Course(7), Course(7)
    for epoch in range(3):
        whole.step(FAST, model, L2(0.5), range(7), epoch)
        parts.step(FAST, model, L2(0.5), [5, 2, 6], epoch)
        parts.step(FAST, model, L2(0.5), [0, 4, 3, 1], epoch)
    assert torch.allclose(whole.memory.tensors["radius"], parts.memory.tensors["radius"])
    resumed = whole.copy()
    a, b = (each.step(FAST, model, L2(0.5), range(7), 3) for each in (whole, resumed))
    assert torch.equal(a.x_adv, b.x_adv)


def test_what_it_cannot_do_is_refused():
    x, y, keys, visit = Course(3).show(range(3))
    with pytest.raises(InputError, match="is needed by IAT"):
        FAST.loss(network(), x, y, Linf(EPS), progress=0.0, keys=keys)
    uneven = Linf(torch.full((1, *x.shape[1:]), 0.1))
    with pytest.raises(UnsupportedThreat, match="one radius per feature"):
        FAST.loss(network(), x, y, uneven, progress=0.0, keys=keys, visit=visit)
