import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.threats import Linf
from holdfast.training.objectives.cure import CURE
from holdfast.training.objectives.double_backward import input_gradients
from training.objectives.test_grad_align import calls_of, smooth_world
from training.tiny import examples, network

PGD2 = PGD(steps=2, restarts=1, step_size="eps/2", start="clean")


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (CURE(weight=3.0), (3, 5)),
        (CURE(weight=3.0, backprop_through="second"), (3, 4)),
        (CURE(weight=3.0, attack=PGD2), (5, 7)),
    ],
)
def test_declared_passes_are_the_counted_ones(objective, passes):
    assert tuple(objective.passes) == passes
    assert calls_of(objective, network(), examples(5)) == passes


def test_weights_are_the_published_ones():
    assert CURE().weight_in(Linf("8/255")) == pytest.approx(700)
    assert CURE().weight_in(Linf("16/255")) == pytest.approx(20000)


def test_the_penalty_compares_the_gradient_at_the_inputs_trained_on():
    model, data = network(), examples(6)
    x, y = data.inputs(), data.labels
    result = CURE(weight=2.0).loss(model, x, y, Linf(0.1), progress=0.5)
    first = input_gradients(model, x, y, graph=False)
    second = input_gradients(model, result.x_adv, y, graph=False)
    want = (second - first).flatten(1).square().sum(1).mean()
    assert torch.allclose(result.logs["penalty"], want)
    assert want > 0


def test_where_the_gradient_does_not_change_there_is_no_penalty():
    model, x = nn.Linear(5, 3), torch.rand(4, 5)
    with torch.no_grad():
        model.weight.zero_()
    result = CURE(weight=2.0).loss(model, x, torch.tensor([0, 1, 2, 0]), Linf(0.1), progress=0.5)
    assert result.logs["penalty"] == 0
    model, data = network(), examples(4)
    nothing = CURE(weight=1.0).loss(model, data.inputs(), data.labels, Linf(0.0), progress=0.5)
    assert nothing.logs["penalty"] < 1e-10


@pytest.mark.parametrize("option", ["both", "second"])
def test_gradients_are_those_of_finite_differences(option):
    model, x, y, keys = smooth_world()
    threat = Linf(0.2, box=None)
    objective = CURE(weight=1.5, backprop_through=option)
    result = objective.loss(model, x, y, threat, progress=0.5, keys=keys)
    result.loss.backward()
    held = input_gradients(model, x, y, graph=False)

    def value():
        first = held if option == "second" else input_gradients(model, x, y, graph=False)
        second = input_gradients(model, result.x_adv, y, graph=False)
        fitted = nn.functional.cross_entropy(model(result.x_adv), y)
        return (fitted + 1.5 * (second - first).square().sum(1).mean()).item()

    flat, found = model[0].weight.data.view(-1), model[0].weight.grad.flatten()
    for i in (0, 11, 29):
        sides = []
        for sign in (1, -1):
            flat[i] += sign * 1e-6
            sides.append(value())
            flat[i] -= sign * 1e-6
        assert found[i].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7, rel=1e-5)
