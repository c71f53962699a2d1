import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.recipes import to_dict
from holdfast.threats import Linf
from holdfast.training.objectives import PGDAT, Free, Standard
from holdfast.training.objectives.penalised import Penalised
from holdfast.training.optimizers import SGD, set_learning_rate
from training.tiny import examples, network

AT = PGDAT(attack=PGD(steps=2, restarts=1))


def step_of(objective, model, data=None, **options):
    data = examples(5) if data is None else data
    return objective.loss(model, data.inputs(), data.labels, Linf(0.1), progress=0.5, **options)


def affine(model):
    return [model[0].weight, model[5].weight]


def test_the_penalty_is_that_of_the_affine_weights_alone():
    model = network(norm=True)
    with torch.no_grad():
        for layer in (model[0], model[5]):
            layer.bias.fill_(1e3)
        model[1].weight.fill_(1e3)
    expected = sum(0.3 * w.abs().sum() + 0.1 * (w**2).sum() for w in affine(model))
    found = Penalised(objective="standard", l1=0.3, l2=0.2).penalty(model)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_gradient_is_the_objectives_plus_that_of_the_penalty():
    plain, penalised = network(norm=True), network(norm=True)
    step_of(AT, plain).loss.backward()
    result = step_of(Penalised(objective=AT, l1=0.03, l2=0.2), penalised)
    result.loss.backward()
    assert result.logs["penalty"] > 0
    assert not result.logs["penalty"].requires_grad
    taken = {id(each) for each in affine(penalised)}
    for a, b in zip(plain.parameters(), penalised.parameters(), strict=True):
        extra = 0.03 * b.sign() + 0.2 * b if id(b) in taken else 0
        assert torch.allclose(b.grad, a.grad + extra, atol=1e-6)


def test_half_the_squares_are_weight_decay_of_sgd_on_these_weights():
    ends = []
    for objective, optimizer in (
        (Standard(), SGD(weight_decay=0.3, decay="weights")),
        (Penalised(objective=Standard(), l2=0.3), SGD()),
    ):
        model = network(norm=True)
        made = optimizer.build(model)
        for _ in range(3):
            made.zero_grad()
            step_of(objective, model).loss.backward()
            set_learning_rate(made, 0.05)
            made.step()
        ends.append(model)
    for a, b in zip(*(end.parameters() for end in ends), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_without_weights_it_is_the_objective_itself():
    results = []
    for objective in (AT, Penalised(objective=AT)):
        model = network()
        result = step_of(objective, model)
        result.loss.backward()
        results.append((result.loss, [each.grad for each in model.parameters()]))
    assert torch.equal(results[0][0], results[1][0])
    assert all(map(torch.equal, results[0][1], results[1][1]))


def test_it_costs_and_carries_what_the_objective_does():
    free = Penalised(objective=Free(), l1=0.1)
    assert free.passes == Free().passes
    assert free.replays == Free().replays
    assert Penalised(objective=AT, l1=0.1).replays == 1
    state = step_of(free, network()).state
    assert (state is None) == (step_of(Free(), network()).state is None)
    assert to_dict(free)["objective"]["kind"] == "free"


def test_a_model_without_affine_weights_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(40))
    with pytest.raises(InputError, match="no affine weights"):
        Penalised(objective="standard", l1=0.1).penalty(model)
