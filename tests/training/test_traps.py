"""Traps of PyTorch that adversarial training falls into elsewhere, each with a test that guards it.

Guarded by other tests:
- modes of modules, saved and restored one by one: `core/test_frozen.py`, and in `contracts/`
  `test_no_side_effects.py`, `test_objectives_in_training.py`
- gradients that the attack leaves on weights: `contracts/test_objectives_in_training.py`
- updates of batch norm by the attack, by mode: `objectives/test_pgd_at.py`, `test_trades.py`
- casts that outlive a change of the weights: `test_precision.py`; under AWP: here
- an average that shares the statistics of batch norm: `test_averaging.py`
- double backward through batch norm that later passes update: `objectives/test_double_backward.py`
- checkpoints that run code, resuming that loses a state: `test_checkpoints.py`, `test_loop.py`
- a choice on test data without saying so: `test_loop.py`; that they are not read: here
- a radius in normalised units: `test_sources.py`
- robust accuracy as high as the clean one: `test_selection.py`
- two processes train what one does: `test_distributed.py`; every objective: here
"""

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.models import Normalize
from holdfast.threats import L2, Linf
from holdfast.training import train
from holdfast.training.monitors import MONITORS
from holdfast.training.objectives import FGSMRS, PGDAT, AdversarialWeightPerturbation, Free
from holdfast.training.precision import Autocast
from small_objectives import NAMES, ask, batch, each_name, finite, over, small, step
from training.tiny import examples, network, recipe, weights

TESTS = str(__file__).rsplit("/training/", 1)[0]
CPU = torch.device("cpu")
FGSM = {"kind": "fgsm-rs", "attack_mode": "eval"}
UNCHOSEN = {"selection": {"attack": "none"}}


def trained(what, data=None, **options):
    return train(what, data=data or examples(23), device="cpu", **options)


# Modes, gradients, statistics


class Noting(nn.Module):
    """A network that notes the modes in which weights are trained."""

    def __init__(self):
        super().__init__()
        self.net, self.seen = network(norm=True, dropout=0.2), []

    def forward(self, x):
        if torch.is_grad_enabled() and self.net[0].weight.requires_grad:
            self.seen.append([module.training for module in self.net])
        return self.net(x)


def test_after_a_validation_every_module_is_back_in_training_mode():
    model = Noting()
    trained(recipe(FGSM, selection={"attack": "pgd-2-1", "every_steps": 1}), model=model)
    assert len(model.seen) == 8
    assert all(all(modes) for modes in model.seen)


def test_gradients_of_before_training_do_not_enter_it():
    models = [network(), network()]
    for weight in models[1].parameters():
        weight.grad = torch.full_like(weight, 7.0)
    for model in models:
        trained(recipe(FGSM, **UNCHOSEN), model=model)
    assert torch.equal(*map(weights, models))


@pytest.mark.slow
def test_neither_looking_nor_validating_nor_recording_changes_a_bit():
    """Statistics of batch norm included: nothing that only looks runs in training mode."""
    quiet = recipe(FGSM, selection={"attack": "none", "choose": "last", "every": 2})
    selection = {"attack": "pgd-2-1", "choose": "last", "every_steps": 1}
    own = {"catastrophic": {"action": "none"}, "loss-surface": {"examples": 3}}
    monitors = [{"kind": name, "every": 2} | own.get(name, {}) for name in MONITORS]
    busy = recipe(FGSM, selection=selection, training={"monitors": monitors})
    found = [weights(trained(what, model=network(norm=True)).model) for what in (quiet, busy)]
    assert torch.equal(*found)


# Precision


def test_awp_under_autocast_is_at_the_perturbed_weights():
    """A cast that is kept from the pass before the perturbation would give the old loss again."""
    x, y = batch()
    objective = AdversarialWeightPerturbation(objective=small("pgd-at"), gamma=0.3)
    model = network()
    result = ask(objective, Autocast(model, CPU, torch.bfloat16), x, y)
    moved = Autocast(network(), CPU, torch.bfloat16)
    moved.network.load_state_dict(model.state_dict())  # before `finish`: the perturbed weights
    assert torch.equal(result.loss, cross_entropy(moved(result.x_adv), y))
    assert result.loss > result.logs["unperturbed_loss"] + 0.05
    result.finish()


def test_the_gradient_of_an_attack_is_not_divided_by_the_size_of_the_batch():
    """Of a mean over many confident examples, gradients in low precision vanish; of a sum not."""
    model, (x, y) = network(), batch()
    with torch.no_grad():
        model[5].weight.mul_(20)
    zeros = []
    for copies in (1, 200):
        frozen = FrozenModel(Autocast(model, CPU, torch.bfloat16))
        many = x.repeat(copies, 1, 1, 1), y.repeat(copies)
        gradient = frozen.value_and_grad(many[0], partial(PGDAT().attack.loss, y=many[1]))[2]
        gradient = gradient[: len(x)]
        zeros.append((gradient == 0).sum())
        sizes = gradient.flatten(1).norm(dim=1)
        assert bool((sizes > 0).all())
    assert zeros[0] == zeros[1]


@pytest.mark.parametrize("scale", [1e4, 0.0])
@each_name
def test_confident_and_dead_networks_have_finite_gradients(name, scale):
    """Divergences of probabilities that are 0 in float32 are NaN unless taken of logarithms."""
    model, (x, y) = network(), batch()
    with torch.no_grad():
        model[5].weight.mul_(scale)
    assert all(finite(result.loss) for result in step(small(name), model, x, y))
    assert finite(*(weight.grad for weight in model.parameters()))


def test_an_overflow_of_the_scaled_loss_does_not_stay_in_what_is_carried():
    """Loss scaling begins too high: the weight step is left out, and the perturbation must be."""
    model, (x, y) = network(), batch()
    result = ask(Free(replays=2), model, x, y, L2(0.5))
    (result.loss * 1e38 * 10).backward()
    assert finite(*result.finish().values())


# Double backward


@pytest.mark.parametrize("name", ["grad-align", "gradient-penalty", "cure", "llr"])
def test_second_derivatives_of_a_compiled_network_are_taken_on_the_eager_one(name):
    torch._dynamo.reset()
    (x, y), found = batch(), []
    for compiled in (False, True):
        model = network()
        asked = torch.compile(model, backend="aot_eager") if compiled else model
        try:
            step(small(name), asked, x, y)
        except InputError:
            return
        found.append(torch.cat([weight.grad.flatten() for weight in model.parameters()]))
    assert torch.allclose(*found, rtol=1e-3, atol=1e-5)


# Inputs and starts


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize(("change", "said"), [(255.0, "divide by 255"), (-0.5, "models.Normalize")])
def test_inputs_in_other_units_are_refused_before_training(change, said, held_out):
    data = examples(23)
    bad = data.inputs() * change if change > 1 else data.inputs() + change
    good, bad = (data.inputs(), data.labels), (bad, data.labels)
    given = {"data": good, "validation": bad} if held_out else {"data": bad}
    with pytest.raises(InputError, match=said):
        trained(recipe(FGSM), **given)


def test_a_random_start_keeps_the_bound_of_every_channel():
    radius = torch.tensor([0.02, 0.3]).reshape(1, 2, 1, 1)
    data = examples(40)
    x = data.inputs() * 0.2 + 0.4
    keys = Keys.of(0, data.index)
    start = Linf(radius).sample(x, keys=keys) - x
    trained_on = FGSMRS().loss(network(), x, data.labels, Linf(radius), progress=0.5, keys=keys)
    for moved in (start, trained_on.x_adv - x):
        largest = moved.abs().amax(dim=(0, 2, 3))
        assert bool((largest <= radius.flatten() + 1e-6).all())
        assert bool((largest > 0.9 * radius.flatten()).all())


def test_a_normalising_network_and_normalised_inputs_give_the_same_perturbation():
    """The two layouts of published code: the radius in input units, or divided per channel."""
    mean, std = torch.tensor([[[0.4]], [[0.6]]]), torch.tensor([[[0.25]], [[0.5]]])
    data, keys, inner = examples(7), Keys.of(0, range(7)), network()
    x, y = data.inputs(), data.labels
    outer = nn.Sequential(Normalize(mean.flatten().tolist(), std.flatten().tolist()), inner)
    plain = FGSMRS().loss(outer, x, y, Linf(0.1, box=None), progress=0.5, keys=keys)
    threat, points = Linf(0.1 / std[None], box=None), (x - mean) / std
    scaled = FGSMRS().loss(inner, points, y, threat, progress=0.5, keys=keys)
    assert torch.allclose(plain.x_adv - x, (scaled.x_adv - points) * std, atol=1e-6)
    assert torch.allclose(plain.loss, scaled.loss, rtol=1e-5)


def test_test_data_are_not_read_unless_they_are_asked_for(monkeypatch):
    from holdfast.training import examples as home

    read, load = [], home.load_data

    def noting(name, split, **options):
        read.append(split)
        return load(name, split, **options)

    monkeypatch.setattr(home, "load_data", noting)
    options = {"data": {"name": "digits", "limit": 60}, "training": {"epochs": 1, "batch_size": 30}}
    for on in ("validation", "train", "test"):
        train(recipe(selection={"on": on, "attack": "none"}, **options), device="cpu")
        assert ("test" in read) == (on == "test")


# Waiting for the device


class Waits(TorchDispatchMode):
    """Notes what would wait for a GPU: numbers read from it, rows chosen by their values."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if "_local_scalar_dense" in str(function) or "nonzero" in str(function):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


WAITS = {
    "interval": "captures the network at its first step",
    "iat": "attacks with another radius the rows that need it",
    "atta": "asks on a CPU only",
    "atas": "asks on a CPU only",
    "adaptive-targets": "asks on a CPU only",
    "mixup": "one_hot checks its labels on a CPU only",
    "sat": "one_hot checks its labels on a CPU only",
    "reweighted-tuning": "one_hot checks its labels on a CPU only",
}


@over([name for name in NAMES if name not in WAITS])
def test_a_step_reads_nothing_from_the_device(name):
    model, (x, y) = network(norm=True), batch()
    with Waits() as waits:
        step(small(name), model, x, y)
    assert waits.seen == []


# Several processes

WORK = """
import sys, torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from holdfast.core.random import Keys
from holdfast.training.memory import Memory
from holdfast.training.precision import in_precision
from small_objectives import NAMES, ask, batch, small, visit
from training.tiny import network
dist.init_process_group("gloo")
rank, cpu = dist.get_rank(), torch.device("cpu")
x, y = batch(6)
parts = [torch.arange(6)[0::2], torch.arange(6)[1::2]]

def gradient(name, rows, precision, together):
    objective, state, memory = small(name), None, Memory(6, cpu)
    network_ = network(norm=precision == "bf16")
    model = in_precision(network_, precision, cpu)
    model = DistributedDataParallel(model) if together else model
    for replay in range(getattr(objective, "replays", 1)):
        showing = visit(6, places=rows, memory=memory, replay=replay)
        options = {"keys": Keys.of(4, rows), "visit": showing, "state": state}
        result = ask(objective, model, x[rows], y[rows], **options)
        result.loss.backward()
        state = result.state if result.finish is None else result.finish()
    return torch.cat([weight.grad.flatten() for weight in network_.parameters()])

far = {}
for name in NAMES:
    for precision in ("float32", "bf16"):
        want = sum(gradient(name, rows, precision, False) for rows in parts) / 2
        found = gradient(name, parts[rank], precision, True)
        if not torch.allclose(found, want, rtol=1e-2, atol=1e-3 * float(want.abs().max())):
            far[name, precision] = float((found - want).abs().max())
torch.save(far, f"{sys.argv[2]}/{rank}.pt")
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_the_weight_gradient_of_every_objective_is_the_mean_over_processes(tmp_path):
    """What `autograd.grad` finds under DDP is not averaged; the gradient of the loss must be."""
    script = tmp_path / "work.py"
    script.write_text(WORK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, script, TESTS, tmp_path], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)] == [{}, {}]
