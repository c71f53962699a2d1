import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.threats import Linf
from holdfast.training.objectives.gradient_penalty import GradientPenalty
from training.objectives.test_grad_align import calls_of, smooth_world
from training.tiny import examples, network

PGD2 = PGD(steps=2, restarts=1, step_size="eps/2", start="clean")


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (GradientPenalty(weight=3.0), (2, 3)),
        (GradientPenalty(weight=3.0, attack=None), (2, 3)),
        (GradientPenalty(weight=3.0, attack=PGD2), (4, 5)),
    ],
)
def test_declared_passes_are_the_counted_ones(objective, passes):
    assert tuple(objective.passes) == passes
    assert calls_of(objective, network(), examples(5)) == passes


def test_weights_are_the_published_ones():
    assert GradientPenalty().weight_in(Linf("8/255")) == pytest.approx(1000)
    assert GradientPenalty().weight_in(Linf("16/255")) == pytest.approx(2000)


def test_the_penalty_of_a_logistic_model_in_closed_form():
    model = nn.Linear(5, 2).double()
    x, y = torch.rand(3, 5, dtype=torch.float64), torch.tensor([0, 1, 1])
    wrong = 1 - model(x).softmax(1).gather(1, y[:, None])[:, 0]
    difference = model.weight[0] - model.weight[1]
    want = (wrong.square() * difference.square().sum()).mean()
    result = GradientPenalty(weight=2.0, attack=None).loss(model, x, y, Linf(0.1), progress=0.5)
    assert result.logs["penalty"].item() == pytest.approx(want.item(), rel=1e-9)
    (found,) = torch.autograd.grad(result.loss, model.weight)
    fitted = nn.functional.cross_entropy(model(x), y)
    (wanted,) = torch.autograd.grad(fitted + 2 * want, model.weight)
    assert torch.allclose(found, wanted)


def test_gradients_are_those_of_finite_differences():
    model, x, y, keys = smooth_world()
    objective, threat = GradientPenalty(weight=1.5), Linf(0.01, box=None)

    def value():
        return objective.loss(model, x, y, threat, progress=0.5, keys=keys).loss

    value().backward()
    flat, found = model[0].weight.data.view(-1), model[0].weight.grad.flatten()
    for i in (0, 11, 29):
        sides = []
        for sign in (1, -1):
            flat[i] += sign * 1e-6
            sides.append(value().item())
            flat[i] -= sign * 1e-6
        assert found[i].item() == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-7, rel=1e-5)
