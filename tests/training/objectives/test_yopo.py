import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.data.augment import Augment
from holdfast.threats import Linf
from holdfast.training.loop import train
from holdfast.training.memory import Memory
from holdfast.training.objectives.yopo import YOPO
from holdfast.training.visit import Visit
from training.tiny import examples, network, recipe


def visit(count, replay):
    memory = Memory(count, torch.device("cpu"))
    return Visit(torch.arange(count), count, 0, 1, memory, Augment(), (), count, replay)


def rounds(objective, model, x, y, threat):
    """All rounds of one batch; the points of each, gradients left on the weights."""
    state, points = None, []
    for replay in range(objective.rounds):
        result = objective.loss(
            model,
            x,
            y,
            threat,
            progress=0.5,
            state=state,
            keys=Keys.of(0, range(len(x))),
            visit=visit(len(x), replay),
        )
        result.loss.backward()
        state = result.finish()
        points.append(result.x_adv)
        assert result.accumulate == (replay < objective.rounds - 1)
    return points, state


def test_the_costate_step_is_the_gradient_step_where_the_first_layer_is_affine():
    model, data, threat = network(), examples(5), Linf(0.1)
    x, y = data.inputs(), data.labels
    points, state = rounds(YOPO(rounds=1, inner=1, step_size="eps/2"), model, x, y, threat)
    point = points[0].clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(cross_entropy(model(point), y), point)
    expected = threat.project(points[0] + 0.05 * gradient.sign(), x)
    assert torch.equal(x + state["delta"], expected)


def test_the_gradient_is_that_of_all_rounds_together():
    for gradients in ("sum", "mean"):
        model, data, threat = network(), examples(5), Linf(0.1)
        x, y = data.inputs(), data.labels
        objective = YOPO(rounds=3, inner=2, gradients=gradients)
        points, _ = rounds(objective, model, x, y, threat)
        found = [each.grad.clone() for each in model.parameters()]
        model.zero_grad()
        total = sum(cross_entropy(model(point), y) for point in points)
        (total if gradients == "sum" else total / 3).backward()
        for mine, whole in zip(found, model.parameters(), strict=True):
            assert torch.allclose(mine, whole.grad, atol=1e-6)
        assert not torch.equal(points[0], points[1])
        assert all(threat.contains(point, x).all() for point in points)


def test_the_inner_steps_change_nothing_of_the_model():
    model, data = network(norm=True), examples(6)
    rounds(YOPO(rounds=1, inner=4), model, data.inputs(), data.labels, Linf(0.1))
    assert int(model[1].num_batches_tracked) == 1
    assert not any(module._forward_hooks for module in model.modules())


def test_one_weight_step_per_batch():
    result = train(
        recipe({"kind": "yopo", "rounds": 3, "inner": 2}, training={"epochs": 1}),
        data=examples(13),
        model=network(),
        device="cpu",
    )
    assert result.steps == 3 * 2
    assert result.forwards == 3 * 7


def test_a_model_without_a_first_layer_is_refused():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(40, 3))

        def forward(self, x):
            return x.flatten(1) @ self.w

    data = examples(3)
    with pytest.raises(InputError, match="has no first layer"):
        YOPO().loss(Bare(), data.inputs(), data.labels, Linf(0.1), progress=0.0, visit=visit(3, 0))
