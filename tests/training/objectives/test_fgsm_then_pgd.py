import pytest
import torch

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import build
from holdfast.threats import Linf
from holdfast.training.objectives import FGSMRS, PGDAT, Standard
from holdfast.training.objectives.fgsm_then_pgd import Switch
from holdfast.training.objectives.free import Free
from training.tiny import examples, network

THREAT = Linf(0.1)
SHORT = PGDAT(attack=PGD(steps=3, restarts=1))


def run(objective, progress, state=None):
    data = examples(5)
    x, y, keys = data.inputs(), data.labels, Keys.of(1, data.index)
    return objective.loss(network(), x, y, THREAT, progress=progress, state=state, keys=keys)


@pytest.mark.parametrize(
    ("at", "progress", "early"),
    [
        (0.5, 0.0, True),
        (0.5, 0.5, True),
        (0.5, 0.51, False),
        (0.0, 0.0, False),
        (0.0, 0.01, False),
        (1.0, 1.0, True),
    ],
)
def test_each_step_is_that_of_the_objective_whose_turn_it_is(at, progress, early):
    first = PGDAT(attack=Switch().first.attack)
    found = run(Switch(first=first, then=SHORT, at=at), progress)
    want = run(first if early else SHORT, progress)
    assert torch.equal(found.x_adv, want.x_adv)
    assert torch.equal(found.loss, want.loss)
    assert found.logs == want.logs


def test_a_state_is_carried_on_but_not_over():
    previous = FGSMRS(start="previous", step_size=0.03)
    objective = Switch(first=previous, then=previous, at=0.5)
    one = run(objective, 0.2)
    two = run(objective, 0.4, one.state)
    plain = run(previous, 0.4, run(previous, 0.2).state)
    assert torch.equal(two.x_adv, plain.x_adv)
    three = run(objective, 0.6, two.state)
    assert torch.equal(three.x_adv, run(previous, 0.6).x_adv)
    assert all(isinstance(each, torch.Tensor) for each in two.state.values())
    assert run(Switch(first=previous, then=Standard()), 0.9, two.state).state is None


def test_what_finishes_a_step_is_passed_on():
    free = Free(replays=3)
    objective = Switch(first=free, then=free)
    assert objective.replays == 3
    one = run(objective, 0.2)
    one.loss.backward()
    two = run(objective, 0.3, one.finish())
    plain = run(free, 0.2)
    plain.loss.backward()
    assert torch.equal(two.x_adv, run(free, 0.3, plain.finish()).x_adv)


def test_the_larger_cost_is_declared():
    assert Switch(first=Standard(), then=SHORT).passes == SHORT.passes
    assert Switch(first=SHORT, then=Standard()).passes == SHORT.passes
    assert Switch().passes == PGDAT().passes


def test_objectives_must_fit_together_and_come_from_recipes():
    with pytest.raises(InputError, match="replays"):
        Switch(first=Free(), then=SHORT)
    with pytest.raises(InputError, match="at"):
        Switch(at=1.5)
    recipe = {"first": "fgsm-rs", "then": {"kind": "pgd-at", "label_smoothing": 0.1}, "at": 0.3}
    assert build(Switch, recipe) == Switch(first=FGSMRS(), then=PGDAT(label_smoothing=0.1), at=0.3)
