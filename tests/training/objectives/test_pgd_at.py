import pytest
import torch

from holdfast.attacks import PGD
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.training.objectives import FGSMRS, PGDAT, Standard
from training.tiny import examples, network

AT = PGDAT(attack=PGD(steps=3, restarts=1))


def calls_of(objective, model, data):
    """How often the model went forward and backward in one step."""
    count = {"forward": 0, "backward": 0}

    def forward(module, inputs, output):
        count["forward"] += 1
        output.register_hook(lambda gradient: count.update(backward=count["backward"] + 1))

    handle = model.register_forward_hook(forward)
    args = (model, data.inputs(), data.labels, Linf(0.1))
    objective.loss(*args, progress=0.5).loss.backward()
    handle.remove()
    return count["forward"], count["backward"]


@pytest.mark.parametrize("objective", [AT, FGSMRS(), FGSMRS(start="previous"), Standard()])
def test_declared_passes_are_the_counted_ones(objective):
    assert calls_of(objective, network(), examples(5)) == tuple(objective.passes)
    assert AT.passes == (4, 4)


def test_the_loss_is_that_of_the_attacked_inputs():
    model, data = network(), examples(6)
    keys = Keys.of(1, data.index)
    x, y, threat = data.inputs(), data.labels, Linf(0.1)
    result = AT.loss(model, x, y, threat, progress=0.5, keys=keys)
    x_adv = AT.attack.perturb(FrozenModel(model), x, y, threat, keys=keys)
    assert torch.equal(result.x_adv, x_adv)
    assert torch.equal(result.loss, torch.nn.functional.cross_entropy(model(x_adv), y))
    assert result.loss > torch.nn.functional.cross_entropy(model(x), y)


@pytest.mark.parametrize("objective", [AT, FGSMRS()])
def test_at_radius_zero_it_is_ordinary_training_to_the_bit(objective):
    data, losses, gradients = examples(6), [], []
    for each in (objective, Standard()):
        model = network()
        result = each.loss(model, data.inputs(), data.labels, Linf(0.0), progress=0.5)
        result.loss.backward()
        losses.append(result.loss)
        gradients.append([p.grad for p in model.parameters()])
    assert torch.equal(*losses)
    assert all(map(torch.equal, *gradients))


def test_the_step_of_the_attack_follows_a_radius_that_grows():
    model, data = network(), examples(6)
    attack = PGD(steps=1, restarts=1, step_size="eps/4", start="clean")
    for share in (1.0, 0.5, 0.02):
        threat = Linf(0.1, box=None).at(0.1 * share)
        result = PGDAT(attack=attack).loss(model, data.inputs(), data.labels, threat, progress=0.5)
        moved = (result.x_adv - data.inputs()).abs().flatten(1).amax(dim=1)
        assert torch.allclose(moved, torch.full((6,), 0.025 * share), rtol=1e-3)


@pytest.mark.parametrize("eps", [0.03, 8 / 255, 0.3])
@pytest.mark.parametrize("box", [(0.0, 1.0), None])
def test_inputs_trained_on_are_in_the_ball_but_for_rounding(eps, box):
    """To one unit in the last place of float32, and in the box exactly."""
    model, data = network(), examples(40)
    x, threat = data.inputs(), Linf(eps, box=box)
    x_adv = AT.loss(model, x, data.labels, threat, progress=0.5).x_adv
    moved = (x_adv.double() - x.double()).abs()
    assert float(moved.max()) <= eps + 2**-23
    assert float(moved.max()) > 0.99 * eps
    if box is not None:
        assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


def test_the_attack_leaves_no_gradient_on_weights():
    model, data = network(), examples(5)
    AT.loss(model, data.inputs(), data.labels, Linf(0.1), progress=0.5)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("mode", "updates"), [("eval", 1), ("batch", 1), ("train", 4)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    objective = PGDAT(attack=PGD(steps=3, restarts=1), attack_mode=mode)
    objective.loss(model, data.inputs(), data.labels, Linf(0.1), progress=0.5)
    assert int(model[1].num_batches_tracked) == updates
    assert all(module.training for module in model.modules())


def test_an_example_is_attacked_alike_in_any_batch():
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(2, data.index)
    whole = AT.loss(model, x, y, Linf(0.1), progress=0.5, keys=keys).x_adv
    part = AT.loss(model, x[3:], y[3:], Linf(0.1), progress=0.5, keys=keys[3:]).x_adv
    assert torch.allclose(whole[3:], part, atol=1e-6)
