"""What every objective leaves alone, what it does around another one, and that training with it
goes on after an interruption, over the catalogue; `test_objectives.py` has what a loss promises.
"""

import math

import pytest
import torch
from torch import nn

from holdfast.core.errors import CaptureError, InputError
from holdfast.runs import Run
from holdfast.schedules import Constant
from holdfast.training import train
from holdfast.training.events import StepDone
from holdfast.training.objectives import OBJECTIVES, Mixup
from holdfast.training.recipe import Recipe, recipe_dict
from small_objectives import NAMES, ask, batch, each_name, finite, over, refusal_of, small, step
from training.tiny import examples, network, recipe, weights

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# What is left as it was


class Delicate(nn.Module):
    """Mixed modes, frozen and free weights, statistics, a gradient in place. Fails on demand."""

    def __init__(self):
        super().__init__()
        self.net = network(norm=True).train()
        self.net[1].eval()
        self.net[5].bias.requires_grad_(False)
        self.net[0].weight.grad = torch.full_like(self.net[0].weight, 7.0)
        self.calls, self.fail_at = 0, -1

    def forward(self, x):
        self.calls += 1
        if self.calls == self.fail_at:
            raise ZeroDivisionError("planned")
        return self.net(x)


def state_of(model):
    """Everything of a network that an objective must not change, as comparable texts."""
    grads = [None if w.grad is None else w.grad.tolist() for w in model.parameters()]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return {
        "modes": [module.training for module in model.modules()],
        "flags": [weight.requires_grad for weight in model.parameters()],
        "identity": [id(each) for each in (*model.parameters(), *model.buffers())],
        "weights": weights(model).tolist(),
        "gradients": grads,
        "hooks": hooks,
        "random": torch.get_rng_state().tolist(),
        "grad mode": torch.is_grad_enabled(),
    }


@each_name
def test_nothing_but_the_loss_comes_of_it(name):
    model, (x, y) = Delicate(), batch()
    kept, before = (x.clone(), y.clone()), state_of(model)
    result = ask(small(name), model, x, y)
    during = state_of(model)
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    assert x.grad is None
    assert not x.requires_grad
    for what in ("modes", "flags", "identity", "gradients", "random", "grad mode"):
        assert during[what] == before[what], what
    assert all(not value.requires_grad for value in result.logs.values())
    for weight in model.parameters():
        weight.grad = None
    result.loss.backward()
    if result.finish is not None:
        result.finish()
    after = state_of(model)
    for what in ("modes", "flags", "identity", "weights", "hooks", "random"):
        assert after[what] == before[what], what
    assert model.net[5].bias.grad is None
    assert torch.equal(x, kept[0])


@each_name
def test_a_network_that_fails_is_left_as_it_was(name):
    x, y = batch()
    for fail_at in (1, 2, 3):
        model = Delicate()
        model.fail_at = fail_at
        before, failed = state_of(model), False
        try:
            ask(small(name), model, x, y)
        except (ZeroDivisionError, CaptureError):
            failed = True
        if failed:
            assert state_of(model) == before


@each_name
def test_gradients_of_weights_come_from_the_loss_alone(name):
    """Twice in a row without a zeroing between gives twice the gradient of once."""
    found = []
    for times in (1, 2):
        model, (x, y) = network(), batch()
        for _ in range(times):
            result = ask(small(name), model, x, y)
            result.loss.backward()
            if result.finish is not None:
                result.finish()
        found.append(torch.cat([w.grad.flatten() for w in model.parameters()]))
    assert torch.allclose(2 * found[0], found[1], rtol=1e-4, atol=1e-6)


class InPlace(nn.Module):
    """A network that normalises its input, as some do in place."""

    def __init__(self, net, *, in_place):
        super().__init__()
        self.net, self.in_place = net, in_place

    def forward(self, x):
        return self.net(x.sub_(0.4).mul_(2.0) if self.in_place else (x - 0.4) * 2.0)


@each_name
def test_a_network_that_works_in_place_changes_neither_inputs_nor_gradients(name):
    (x, y), found = batch(), []
    kept = x.clone()
    for in_place in (False, True):
        model = InPlace(network(), in_place=in_place)
        step(small(name), model, x, y)
        assert torch.equal(x, kept)
        found.append(torch.cat([w.grad.flatten() for w in model.parameters()]))
    assert torch.allclose(*found, rtol=1e-3, atol=1e-5)


# Objectives on top of others


def wrapped(wrapper, inner):
    """An objective around another, set so that it does nothing of its own."""
    own = {
        "awp": {"gamma": 0.0},
        "fgsm-dropout": {"rate": Constant(value=0.0)},
        "penalised": {"l1": 0.0, "l2": 0.0},
    }
    kind = OBJECTIVES[wrapper].load()
    if wrapper == "switch":
        return kind(first=inner, then=inner)
    return kind(objective=inner, **own[wrapper])


@pytest.mark.parametrize("wrapper", ["awp", "fgsm-dropout", "penalised", "switch"])
@each_name
def test_around_another_one_it_gives_its_bits_when_it_does_nothing(name, wrapper):
    inner, (x, y), found = small(name), batch(), []
    if wrapper == "awp" and getattr(inner, "replays", 1) > 1:
        with pytest.raises(InputError, match="without replays"):
            wrapped(wrapper, inner)
        return
    for objective in (inner, wrapped(wrapper, inner)):
        model, state = network(norm=True), None
        for _ in range(2):
            results = step(objective, model, x, y, state=state)
            state = results[-1].state
        gradients = [w.grad.flatten() for w in model.parameters()]
        found.append((results[-1].loss, torch.cat(gradients)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


REPLAYED = {"free", "yopo"}  # refused, see above


@over([name for name in NAMES if name not in REPLAYED])
def test_awp_around_another_one_perturbs_whatever_its_answers_are(name):
    (x, y), model = batch(), network()
    with torch.no_grad():
        model[5].weight.mul_(1e-3)  # one class for all: some examples are wrong without an attack
    around = OBJECTIVES["awp"].load()(objective=small(name))
    results, refusal = refusal_of(lambda: step(around, model, x, y))
    assert refusal.startswith("objective=") or all(finite(each.loss) for each in results)


@each_name
def test_on_mixed_examples_it_is_finite_or_refuses_probabilities(name):
    x, y = batch()
    mixing = Mixup(objective=small(name))
    results, refusal = refusal_of(lambda: step(mixing, network(), x, y))
    assert refusal.startswith("y=") or all(finite(each.loss) for each in results)


# Training


class Killed(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def trained(name, folder, *, stop=None, kill=None, resume=False):
    """Two epochs of batches of 5, 5, 5 and 2 examples; interrupted or killed after some steps."""

    def listen(event):
        if isinstance(event, StepDone) and event.step in (stop, kill):
            raise KeyboardInterrupt if event.step == stop else Killed

    run = Run.open(folder) if resume else Run.create("train", "tiny", "noise", path=folder)
    objective = recipe_dict(Recipe(threat="linf:0.1", objective=small(name)))["objective"]
    what = recipe(objective, selection={"attack": "none"}, training={"average": 0.9})
    options = {"data": examples(23), "model": network(norm=True, dropout=0.2)}
    return train(
        what, run=run, device="cpu", resume=resume, on_event=listen, log_every=1, **options
    )


@each_name
def test_two_epochs_end_in_the_same_weights_when_stopped_and_killed(name, tmp_path):
    whole = trained(name, tmp_path / "whole")
    assert len(whole.history) == 2
    figures = [value for epoch in whole.history for value in epoch.values() if value is not None]
    assert all(map(math.isfinite, figures))
    assert finite(weights(whole.model))
    with pytest.raises(KeyboardInterrupt):  # also between two replays of a batch
        trained(name, tmp_path / "part", stop=2)
    with pytest.raises(Killed):  # in the second epoch; the checkpoint is that of the first
        trained(name, tmp_path / "part", kill=whole.steps // 2 + 2, resume=True)
    again = trained(name, tmp_path / "part", resume=True)
    assert torch.equal(weights(again.model), weights(whole.model))
    assert again.history == whole.history


@each_name
def test_images_may_grow_from_phase_to_phase(name):
    phases = [{"epochs": 1, "batch_size": 4, "resize": 3}, {"epochs": 1, "batch_size": 5}]
    objective = recipe_dict(Recipe(threat="linf:0.1", objective=small(name)))["objective"]
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(4, 3))
    what = recipe(objective, selection={"attack": "none"}, training={"phases": phases})
    assert finite(weights(train(what, data=examples(23), model=model, device="cpu").model))
