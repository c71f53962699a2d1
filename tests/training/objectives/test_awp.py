import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import FGSM, PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import build
from holdfast.data.augment import Augment
from holdfast.threats import Linf
from holdfast.training.memory import Memory
from holdfast.training.objectives import FGSMRS, PGDAT, TRADES, Standard
from holdfast.training.objectives.awp import AdversarialWeightPerturbation, Given, perturb
from holdfast.training.objectives.free import Free
from holdfast.training.objectives.gairat import GAIRAT
from holdfast.training.objectives.grad_align import GradAlign
from holdfast.training.objectives.llr import LLR
from holdfast.training.objectives.mart import MART
from holdfast.training.objectives.sat import SAT
from holdfast.training.visit import Visit
from training.objectives.test_grad_align import calls_of
from training.tiny import examples, network, weights

THREAT = Linf(0.1)
AT = PGDAT(attack=PGD(steps=3, restarts=1), attack_mode="eval")


def run(objective, model, data, **more):
    keys = Keys.of(1, data.index)
    args = (model, data.inputs(), data.labels, THREAT)
    return objective.loss(*args, **({"progress": 0.5, "keys": keys} | more))


def visit(data, epoch):
    memory = Memory(len(data), torch.device("cpu"))
    return Visit(
        places=torch.arange(len(data)),
        count=len(data),
        epoch=epoch,
        epochs=9,
        memory=memory,
        augment=Augment(steps=()),
        params=(),
        batch_size=len(data),
    )


def test_the_loss_is_that_of_the_worst_weights_at_inputs_found_before():
    data = examples(6)
    y, plain = data.labels, network(norm=True)
    x_adv = run(AT, plain, data).x_adv
    plain = network(norm=True)
    big = [each for each in plain.parameters() if each.ndim > 1]
    gradients = torch.autograd.grad(cross_entropy(plain(x_adv), y), big)
    with torch.no_grad():
        for weight, gradient in zip(big, gradients, strict=True):
            weight.add_(0.02 * weight.norm() * gradient / gradient.norm())
    model = network(norm=True)
    result = run(AdversarialWeightPerturbation(objective=AT, gamma=0.02), model, data)
    assert torch.equal(result.x_adv, x_adv)
    assert torch.allclose(result.loss, cross_entropy(plain(x_adv), y))
    assert result.loss > result.logs["unperturbed_loss"]
    for found, want in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found, want, atol=1e-7)
    result.loss.backward()
    result.finish()
    plain.zero_grad()
    cross_entropy(plain(x_adv), y).backward()
    for found, want in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(found.grad, want.grad, atol=1e-6)


STEPS = {"steps": 3, "step_size": "eps/2"}
OBJECTIVES = [
    AT,
    FGSMRS(),
    Standard(),
    GradAlign(weight=0.3),
    GradAlign(weight=0.3, attack=None),
    TRADES(**STEPS),
    TRADES(weight=0.0),
    MART(**STEPS),
    LLR(),
]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_weights_get_their_bits_back(objective):
    model, data = network(), examples(5)
    before = weights(model)
    result = run(AdversarialWeightPerturbation(objective=objective, gamma=0.3), model, data)
    assert all(each.grad is None for each in model.parameters())
    moved = weights(model)
    assert not torch.equal(moved, before)
    size = [each.detach().norm() for each in network().parameters() if each.ndim > 1]
    shift = [
        (one - other).norm().item()
        for one, other in zip(model.parameters(), network().parameters(), strict=True)
        if one.ndim > 1
    ]
    assert shift == pytest.approx([0.3 * float(each) for each in size], rel=1e-5)
    result.loss.backward()
    assert result.finish() is result.state
    assert torch.equal(weights(model), before)
    assert all(each.grad is not None for each in model.parameters())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_declared_passes_are_the_counted_ones(objective):
    wrapped = AdversarialWeightPerturbation(objective=objective)
    assert calls_of(wrapped, network(), examples(5)) == tuple(wrapped.passes)


def test_the_attack_runs_once():
    assert AdversarialWeightPerturbation(objective=AT).passes == (5, 5)
    assert AdversarialWeightPerturbation(objective=FGSMRS()).passes == (3, 3)
    assert AdversarialWeightPerturbation(objective=TRADES(steps=7)).passes == (12, 11)
    assert AdversarialWeightPerturbation(objective=MART(steps=7)).passes == (11, 11)
    assert AdversarialWeightPerturbation(objective=GAIRAT(burn_in=0)).passes == (22, 22)


@pytest.mark.parametrize("objective", [TRADES(**STEPS), MART(**STEPS), SAT(**STEPS), LLR()])
def test_weights_climb_the_objective_s_own_loss_at_one_set_of_points(objective):
    data, gamma = examples(6), 0.02
    found = run(objective, network(), data, visit=visit(data, 0)).x_adv
    plain = network()
    big = [each for each in plain.parameters() if each.ndim > 1]
    here = run(objective, plain, data, visit=visit(data, 0), x_adv=found)
    assert torch.equal(here.x_adv, found)
    gradients = torch.autograd.grad(here.loss, big)
    with torch.no_grad():
        for weight, gradient in zip(big, gradients, strict=True):
            weight.add_(gamma * weight.norm() * gradient / gradient.norm())
    want = run(objective, plain, data, visit=visit(data, 0), x_adv=found).loss
    wrapped = AdversarialWeightPerturbation(objective=objective, gamma=gamma)
    result = run(wrapped, network(), data, visit=visit(data, 0))
    assert torch.equal(result.x_adv, found)
    assert torch.allclose(result.loss, want)
    assert torch.equal(result.logs["unperturbed_loss"], here.loss.detach())
    assert result.loss > here.loss


def test_what_a_step_carries_on_is_carried_on_from_given_points():
    data = examples(5)
    objective = FGSMRS(start="previous")
    alone = run(objective, network(), data)
    wrapped = AdversarialWeightPerturbation(objective=objective, gamma=0.3)
    found = run(wrapped, network(), data).finish()
    assert found.keys() == alone.state.keys()
    assert all(torch.equal(found[name], alone.state[name]) for name in found)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_buffers_change_by_the_main_pass_only(mode):
    model, data = network(norm=True), examples(8)
    inner = PGDAT(attack=FGSM(), attack_mode=mode)
    result = run(AdversarialWeightPerturbation(objective=inner, gamma=0.0), model, data)
    assert int(model[1].num_batches_tracked) == 1
    plain = network(norm=True)
    plain(result.x_adv)
    assert torch.equal(model[1].running_mean, plain[1].running_mean)


def test_an_objective_that_fails_leaves_the_weights_as_they_were():
    class Fragile(nn.Sequential):
        calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls == 2:
                raise RuntimeError("second pass")
            return super().forward(x)

    model = Fragile(nn.Flatten(), nn.Linear(40, 3))
    before = weights(model)
    with pytest.raises(RuntimeError, match="second pass"):
        run(AdversarialWeightPerturbation(objective=Standard()), model, examples(4))
    assert torch.equal(weights(model), before)


def test_warm_up_is_ordinary_training():
    data = examples(5)
    objective = AdversarialWeightPerturbation(objective=AT, warmup=2)
    early = run(objective, network(), data, visit=visit(data, 1))
    assert early.finish is None
    assert torch.equal(early.loss, run(AT, network(), data).loss)
    assert run(objective, network(), data, visit=visit(data, 2)).finish is not None
    with pytest.raises(InputError, match="visit"):
        run(objective, network(), data)


def test_states_and_memories_are_written_once():
    class Counting:
        passes = Standard().passes

        def loss(self, model, x, y, threat, *, visit, state, **more):
            seen = visit.memory.read("seen", visit.places)
            visit.memory.write("seen", visit.places, seen + 1)
            result = Standard().loss(model, x, y, threat, **more)
            count = 1 + (0 if state is None else state["count"])
            return type(result)(result.loss, x, result.logs, {"count": count})

    data = examples(5)
    place = visit(data, 0)
    objective = AdversarialWeightPerturbation(objective=Counting())
    result = run(objective, network(), data, visit=place, state={"count": 4})
    assert result.finish() == {"count": 5}
    assert (place.memory.read("seen", place.places) == 1).all()
    assert place.memory.recording


def test_perturbations_within_perturbations_unwind():
    model, data = network(), examples(5)
    before = weights(model)
    inner = AdversarialWeightPerturbation(objective=Standard(), gamma=0.1)
    result = run(AdversarialWeightPerturbation(objective=inner, gamma=0.1), model, data)
    result.loss.backward()
    result.finish()
    assert torch.equal(weights(model), before)


def test_zero_and_missing_gradients_move_nothing():
    tensors = [torch.ones(2, 3), torch.ones(3, 2), torch.full((2, 2), 2.0)]
    restore = perturb(tensors, [torch.zeros(2, 3), None, torch.eye(2)], 0.5)
    assert torch.equal(tensors[0], torch.ones(2, 3))
    assert torch.equal(tensors[1], torch.ones(3, 2))
    assert torch.allclose(tensors[2], 2 + torch.eye(2) * 2**0.5)
    restore()
    assert torch.equal(tensors[2], torch.full((2, 2), 2.0))


def test_a_given_attack_returns_what_was_found():
    points = torch.rand(3, 4)
    assert Given(points).steps == 0
    assert Given(points).perturb(None, points, None, None, keys=None) is points
    with pytest.raises(InputError, match="does not fit awp"):
        Given(points).perturb(None, points[:2], None, None, keys=None)


def test_what_cannot_be_wrapped_is_refused():
    with pytest.raises(InputError, match="replays"):
        AdversarialWeightPerturbation(objective=Free())
    with pytest.raises(InputError, match="gamma"):
        AdversarialWeightPerturbation(gamma=-1.0)
    found = build(AdversarialWeightPerturbation, {"objective": "fgsm-rs", "gamma": 0.01})
    assert found == AdversarialWeightPerturbation(objective=FGSMRS(), gamma=0.01)
