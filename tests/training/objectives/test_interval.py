import pytest
import torch
from torch.nn.functional import cross_entropy

from holdfast.schedules import Constant, Linear
from holdfast.threats import L2, Linf
from holdfast.training.objectives import IBP, Standard
from holdfast.training.precision import Autocast
from training.tiny import examples, network

BOUND_ONLY = IBP(kappa=Constant(value=0.0))


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.2)])
def test_the_bound_loss_is_above_the_loss_at_any_point(threat):
    model, data = network().eval(), examples(6)
    x, y = data.inputs(), data.labels
    bound = float(BOUND_ONLY.loss(model, x, y, threat, progress=0.5).loss.detach())
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        step = torch.randn(x.shape, generator=generator).sign() * 10
        point = threat.project(x + step, x)
        assert float(cross_entropy(model(point), y).detach()) <= bound + 1e-6


def test_the_bound_is_attained_by_a_linear_model():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(40, 2))
    data = examples(5, classes=2)
    x, y, threat = data.inputs(), data.labels, Linf(0.05, box=None)
    result = BOUND_ONLY.loss(model, x, y, threat, progress=0.5)
    weight = (model[1].weight[1] - model[1].weight[0]).view(1, 2, 5, 4)
    direction = weight.sign() * torch.where(y == 0, 1.0, -1.0).view(-1, 1, 1, 1)
    worst = cross_entropy(model(x + 0.05 * direction), y)
    assert result.loss.item() == pytest.approx(worst.item(), rel=1e-5)


def test_at_radius_zero_it_is_ordinary_training_up_to_rounding():
    data, gradients = examples(6), []
    for objective in (BOUND_ONLY, IBP(), Standard()):
        model = network()
        objective.loss(model, data.inputs(), data.labels, Linf(0.0), progress=0.5).loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for each in gradients[:2]:
        for found, want in zip(each, gradients[2], strict=True):
            assert torch.allclose(found, want, atol=1e-4)  # the hull has a tolerance


def test_kappa_mixes_by_progress():
    model, data = network().eval(), examples(6)
    objective = IBP(kappa=Linear(start=1.0, end=0.5))
    args = (model, data.inputs(), data.labels, Linf(0.1))
    for progress, kappa in ((0.0, 1.0), (0.5, 0.75), (1.0, 0.5)):
        logs = objective.loss(*args, progress=progress).logs
        want = kappa * logs["clean_loss"] + (1 - kappa) * logs["bound_loss"]
        assert torch.allclose(logs["loss"], want)


def test_the_graph_is_captured_once_and_follows_the_weights():
    model, data = network(), examples(6)
    args = (data.inputs(), data.labels, Linf(0.1))
    first = BOUND_ONLY.loss(model, *args, progress=0.5)
    with torch.no_grad():
        model[5].weight.mul_(2.0)
    again = BOUND_ONLY.loss(model, *args, progress=0.5, state=first.state)
    fresh = BOUND_ONLY.loss(model, *args, progress=0.5)
    assert again.state["graph"] is first.state["graph"]
    assert torch.equal(again.loss, fresh.loss)
    assert not torch.equal(again.loss, first.loss)


def test_bounds_are_in_float32_under_mixed_precision():
    model, data = network(), examples(6)
    wrapped = Autocast(model, torch.device("cpu"), torch.bfloat16)
    args = (data.inputs(), data.labels, Linf(0.1))
    plain = BOUND_ONLY.loss(model, *args, progress=0.5).logs["bound_loss"]
    mixed = BOUND_ONLY.loss(wrapped, *args, progress=0.5).logs["bound_loss"]
    assert torch.equal(plain, mixed)
