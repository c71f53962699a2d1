import pytest
import torch
from torch import nn

from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.threats import L2, Linf
from holdfast.training.objectives.cure import CURE
from holdfast.training.objectives.double_backward import (
    cosines,
    fgsm_step,
    input_gradients,
    log_linear,
    mean_square,
)
from holdfast.training.objectives.fitting import plain
from holdfast.training.objectives.grad_align import GradAlign
from holdfast.training.objectives.gradient_penalty import GradientPenalty
from holdfast.training.precision import Autocast
from training.tiny import examples, network

KINDS = [GradAlign, GradientPenalty, CURE]


def scaled(factor):
    return lambda logits, y, target=None: factor * cross_entropy(logits, y)


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
def test_with_and_without_graph_the_gradients_are_the_same(mode):
    data = examples(6)
    x, y = data.inputs(), data.labels
    found, updates = [], []
    for graph in (False, True):
        model = network(norm=True)
        found.append(input_gradients(model, x, y, mode=mode, graph=graph))
        updates.append((model[1].running_mean.clone(), int(model[1].num_batches_tracked)))
        assert found[-1].requires_grad is graph
        assert all(each.grad is None for each in model.parameters())
        assert model.training
    assert torch.allclose(found[0], found[1], atol=1e-7)
    assert torch.equal(updates[0][0], updates[1][0])
    assert updates[0][1] == updates[1][1] == (mode == "train")


def test_gradients_are_those_of_single_examples():
    model, data = network(), examples(5)
    x, y = data.inputs(), data.labels
    whole = input_gradients(model, x, y, graph=True)
    for i in range(5):
        alone = input_gradients(model, x[i : i + 1], y[i : i + 1], graph=True)
        assert torch.allclose(alone[0], whole[i], atol=1e-6)


def test_what_later_passes_do_to_batch_norm_does_not_change_the_graph():
    data = examples(6)
    x, y = data.inputs(), data.labels
    for mode in ("eval", "train"):
        wanted = None
        for disturbed in (False, True):
            model = network(norm=True)
            term = mean_square(input_gradients(model, x, y, mode=mode, graph=True))
            if disturbed:
                model(x + 3)
            term.backward()
            gradient = model[0].weight.grad
            wanted = gradient if wanted is None else wanted
            assert torch.equal(gradient, wanted)


def test_probabilities_may_be_labels_and_two_classes_and_vectors_work():
    model, x = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)), torch.rand(3, 4)
    y = torch.tensor([0, 1, 1])
    hard = input_gradients(model, x, y, graph=True)
    soft = input_gradients(model, x, nn.functional.one_hot(y).float(), graph=True)
    assert torch.allclose(hard, soft, atol=1e-6)


def test_cosines_are_those_of_the_angles():
    angles = torch.tensor([0.0, 0.3, 1.5, 3.1], dtype=torch.float64)
    first = torch.tensor([[2.0, 0.0]], dtype=torch.float64).expand(4, 2)
    second = 7 * torch.stack([angles.cos(), angles.sin()], dim=1)
    cos, counted = cosines(first, second)
    assert torch.allclose(cos, angles.cos())
    assert counted.all()
    for factor in (1e-9, 1e6):
        assert torch.allclose(cosines(factor * first, second)[0], cos)


def test_zero_gradients_count_for_nothing_and_give_no_nan():
    first = torch.tensor([[1.0, 2.0], [0.0, 0.0], [1.0, 0.0], [1e-30, 0.0]], requires_grad=True)
    second = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    cos, counted = cosines(first, second)
    assert counted.tolist() == [True, False, False, False]
    cos.sum().backward()
    for each in (first, second):
        assert torch.isfinite(each.grad).all()
        assert (each.grad[1:] == 0).all()
        assert (each.grad[0] != 0).any()


def test_penalties_scale_with_the_square_of_the_loss_and_angles_do_not():
    model, data = network().double(), examples(6)
    x, y = data.inputs().double(), data.labels
    moved = x + 0.05
    at = {c: input_gradients(model, x, y, graph=True, loss=scaled(c)) for c in (1, 3)}
    to = {c: input_gradients(model, moved, y, graph=True, loss=scaled(c)) for c in (1, 3)}
    assert torch.allclose(mean_square(at[3]), 9 * mean_square(at[1]))
    assert torch.allclose(mean_square(to[3] - at[3]), 9 * mean_square(to[1] - at[1]))
    assert torch.allclose(cosines(at[3], to[3])[0], cosines(at[1], to[1])[0])


def test_the_step_is_the_maximiser_over_the_corners():
    gradient = torch.tensor([[0.3, -1.0, 0.2, 2.0, -0.7, 0.1, -0.1]])
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 7) * 0.2
    step = fgsm_step(Linf(0.2), gradient)
    assert (step * gradient).sum() == pytest.approx((corners @ gradient[0]).max().item())
    assert (step * gradient).sum() == pytest.approx(0.2 * gradient.abs().sum().item())


def test_weights_by_radius_need_one_radius():
    assert log_linear(Linf("8/255"), 3.0, 7.0) == pytest.approx(3.0)
    assert log_linear(Linf("16/255"), 3.0, 7.0) == pytest.approx(7.0)
    for threat in (L2(0.5), Linf(torch.tensor([0.1, 0.2]))):
        with pytest.raises(UnsupportedThreat, match="give weight a number"):
            log_linear(threat, 3.0, 7.0)


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_the_penalty_is_in_float32(kind):
    data, penalties = examples(6), []
    for wrapped in (False, True):
        model = network()
        seen = Autocast(model, torch.device("cpu"), torch.bfloat16) if wrapped else model
        assert plain(seen) is model
        objective = kind(weight=0.5)
        result = objective.loss(seen, data.inputs(), data.labels, Linf(0.1), progress=0.5)
        penalties.append(result.logs["penalty"])
        result.loss.backward()
    assert torch.equal(*penalties)


@pytest.mark.parametrize("kind", KINDS)
def test_dead_and_saturated_networks_have_finite_gradients(kind):
    for dead in (True, False):
        model, data = network(), examples(6)
        with torch.no_grad():
            if dead:
                model[0].bias.fill_(-100.0)
            else:
                model[5].weight.mul_(1e4)
        result = kind(weight=2.0).loss(model, data.inputs(), data.labels, Linf(0.1), progress=0.5)
        result.loss.backward()
        assert torch.isfinite(result.loss)
        assert all(torch.isfinite(each.grad).all() for each in model.parameters())
        if dead:
            assert result.logs["penalty"] == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 2, 5, 4), (3, 4)])
def test_one_example_vectors_two_classes_and_float64_work(kind, shape):
    features = int(torch.tensor(shape[1:]).prod())
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 6), nn.ReLU(), nn.Linear(6, 2)).double()
    x, y = torch.rand(shape, dtype=torch.float64), torch.arange(shape[0]) % 2
    for threat in (Linf(0.1), L2(0.4, box=None)):
        result = kind(weight=1.0).loss(model, x, y, threat, progress=0.5)
        assert result.loss.dtype == torch.float64
        assert threat.contains(result.x_adv, x).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_a_sum_and_is_logged(kind):
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(3, data.index)
    result = kind(weight=0.7).loss(model, x, y, Linf(0.1), progress=0.5, keys=keys)
    fitted = nn.functional.cross_entropy(model(result.x_adv), y)
    assert torch.allclose(result.logs["fit"], fitted)
    assert torch.allclose(result.loss, fitted + 0.7 * result.logs["penalty"])
    assert torch.equal(result.logs["loss"], result.loss)
    assert not any(each.requires_grad for each in result.logs.values())
