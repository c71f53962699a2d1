"""What every objective promises, over the catalogue: a new one is tested before its own tests.

Each runs on a network of one convolution and on noisy images, as the loop shows them: with keys, a
visit, and every replay. What an objective is exempt from is listed with the reason, so that one
that is added is exempt from nothing.
"""

import json
import math
import re
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.recipes import build
from holdfast.threats import L1, L2, Linf, Spatial, UniformLinf
from holdfast.training.objectives import OBJECTIVES, Mixup, Objective, Standard
from holdfast.training.objectives.mixup import mixed, mixture
from holdfast.training.precision import in_precision
from holdfast.training.recipe import Recipe, recipe_dict
from small_objectives import (
    NAMES,
    ask,
    batch,
    each_name,
    finite,
    over,
    refusal_of,
    small,
    step,
    visit,
)
from training.tiny import network

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# The record


@each_name
def test_it_is_a_frozen_record(name):
    objective = small(name)
    assert isinstance(objective, Objective)
    assert objective == small(name)
    assert hash(objective) == hash(small(name))
    assert repr(objective).startswith(type(objective).__name__)
    field = (*fields(objective), None)[0]
    with pytest.raises(FrozenInstanceError):
        setattr(objective, "replays" if field is None else field.name, 1)


@each_name
def test_a_recipe_writes_it_down_and_reads_it(name):
    what = Recipe(threat="linf:0.1", objective=small(name))
    plain = json.loads(json.dumps(recipe_dict(what)))
    assert plain["objective"]["kind"] == name
    assert build(Recipe, plain) == what


@each_name
def test_its_entry_says_what_it_is_and_costs(name):
    entry = OBJECTIVES[name]
    assert entry.summary
    assert entry.cost
    assert entry.source or name == "standard"


# The cost


CERTIFIED = {"interval"}  # bounds are no calls of the network
AT_MOST = {"iat"}  # examples that withstand an attack need no weaker one


def counted(name, model, x, y):
    """Rows that went forward and backward in one showing, per example; once the state is there."""
    objective, rows = small(name), {"forward": 0, "backward": 0}
    state = step(objective, network(), x, y)[-1].state

    def backward(gradient):
        rows["backward"] += len(gradient)

    def forward(module, inputs, output):
        rows["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(backward)

    with model.register_forward_hook(forward):
        step(objective, model, x, y, state=state)
    showings = getattr(objective, "replays", 1)
    return tuple(each / len(x) / showings for each in rows.values())


@over([name for name in NAMES if name not in CERTIFIED])
def test_declared_passes_are_the_counted_ones(name):
    found, said = counted(name, network(), *batch()), small(name).passes
    if name in AT_MOST:
        assert all(one <= other for one, other in zip(found, said, strict=True))
    else:
        assert found == tuple(said)


# What is trained on


NOISY = {"clp", "lsq"}  # trained on noise, not on points of the threat
OWN_RADIUS = {"iat"}  # may pass the threat's by its increment


def centre(objective, x, keys):
    """Where the threat is centred: at the mixed inputs for mixup."""
    if isinstance(objective, Mixup):
        return mixed(x, *mixture(keys.fold("mixup"), objective.alpha))
    return x


BALLS = {
    "linf": Linf(0.1),
    "l2": L2(0.5),
    "l1": L1(1.5),
    "linf bare": Linf(0.1, box=None),
    "l2 in another box": L2(0.5, box=(-1.0, 2.0)),
    "l2 of radius 0": L2(0.0),
}
ADVICE = r"; (use|give|train) "


@pytest.mark.parametrize("kind", list(BALLS))
@each_name
def test_inputs_trained_on_lie_in_the_threat_and_the_box(name, kind):
    objective, threat, (x, y) = small(name), BALLS[kind], batch()
    x = (3 * x - 1).clamp(0, 1)  # many values on the border of the box
    keys = Keys.of(4, torch.arange(len(x)))
    try:
        results = step(objective, network(), x, y, threat, keys=keys)
    except UnsupportedThreat as refused:
        if not re.search(ADVICE, str(refused)):
            raise
        return
    low, high = threat.box or (-math.inf, math.inf)
    for result in results:
        x_adv = result.x_adv
        assert x_adv.shape == x.shape
        assert not x_adv.requires_grad
        if name in NOISY:
            continue
        assert x_adv.amin() >= low
        assert x_adv.amax() <= high
        moved = (x_adv - centre(objective, x, keys)).flatten(1).double()
        own = objective.increment if name in OWN_RADIUS else 0
        assert torch.linalg.vector_norm(moved, threat.p, dim=1).max() <= threat.radius + own + 1e-6


@pytest.mark.parametrize("threat", [Spatial(rotation=30, translation=2), UniformLinf(0.1)], ids=str)
@each_name
def test_threats_that_are_no_balls_are_trained_against_or_refused(name, threat):
    x, y = batch()
    try:
        results = step(small(name), network(), x, y, threat)
    except UnsupportedThreat as refused:
        if not re.search(ADVICE, str(refused)):
            raise
        return
    assert all(finite(each.loss) for each in results)


# Labels


@each_name
def test_probabilities_are_labels_or_are_refused(name):
    x, y = batch()
    plain = ask(small(name), network(), x, y).loss
    soft = one_hot(y, 3).float()
    result, refusal = refusal_of(lambda: ask(small(name), network(), x, soft))
    if not refusal:
        assert torch.allclose(result.loss, plain, rtol=1e-4, atol=1e-6)
        halves = torch.full((5, 3), 1 / 3)
        assert finite(ask(small(name), network(), x, halves).loss)


@each_name
def test_its_logs_leave_the_names_of_validation_figures_alone(name):
    for result in step(small(name), network(), *batch()):
        assert not {"clean_accuracy", "robust_accuracy"} & result.logs.keys()


# Shapes, types, layouts


@each_name
def test_a_batch_of_one_and_two_classes(name):
    for count, classes in ((1, 3), (4, 2)):
        x, y = batch(count, classes)
        for result in step(small(name), network(classes=classes), x, y):
            assert finite(result.loss)


@each_name
def test_vectors_are_inputs_or_are_refused(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 2))
    x, y = torch.rand(4, 6), torch.tensor([0, 1, 1, 0])
    results, refusal = refusal_of(lambda: step(small(name), model, x, y))
    assert "image" in refusal or all(finite(each.loss) for each in results)


@each_name
def test_float64_agrees_with_float32(name):
    x, y = batch()
    single = ask(small(name), network(), x, y)
    double = ask(small(name), network().double(), x.double(), y)
    assert double.loss.dtype == torch.float64
    assert double.x_adv.dtype == torch.float64
    assert torch.allclose(double.loss, single.loss.double(), rtol=1e-3)


@each_name
def test_the_layout_of_memory_does_not_matter(name):
    x, y = batch()
    plain = ask(small(name), network(), x, y)
    model = network().to(memory_format=torch.channels_last)
    last = ask(small(name), model, x.to(memory_format=torch.channels_last), y)
    assert torch.allclose(last.loss, plain.loss, rtol=1e-4)


@each_name
def test_bf16_is_near_float32(name):
    x, y = batch()
    plain = ask(small(name), network(), x, y)
    model = network()
    result = ask(small(name), in_precision(model, "bf16", CPU), x, y)
    assert result.loss.dtype == torch.float32
    assert torch.allclose(result.loss, plain.loss, rtol=0.1, atol=0.02)
    result.loss.backward()
    assert finite(*(w.grad for w in model.parameters()))


# Laws


@each_name
def test_at_radius_zero_the_loss_and_its_gradient_are_finite(name):
    model, (x, y) = network(), batch()
    for result in step(small(name), model, x, y, Linf(0.0)):
        assert finite(result.loss)
    assert finite(*(w.grad for w in model.parameters()))


# What leaves of each objective adversarial training alone.
PLAIN = {
    "adaptive-targets": {"reweight": "none", "adaptive": False},
    "awp": {"gamma": 0.0},
    "clp": {"sigma": 0.0, "weight": 0.0},
    "fgsm-dropout": None,  # progress 0.6 is past its dropout
    "gairat": {"burn_in": 5},
    "iat": {"warmup": 5},
    "lsq": {"sigma": 0.0, "weight": 0.0},
    "penalised": {"l1": 0.0, "l2": 0.0},
    "reweighted-tuning": {"reweight": "none"},
    "sat": {"warmup": 5},
    "yopo": {"gradients": "mean", "rounds": 1},
}
NOT_CLEAN = {
    "interval": "bounds at radius 0 are the clean loss up to rounding; see its own test",
    "mart": "its cross-entropy is boosted",
    "mixup": "trains on mixed inputs",
    "gradient-penalty": "penalises the gradient at the clean input",
    "cure": "penalises the change of the gradient along a step of its own length",
}


@over([name for name in NAMES if name not in NOT_CLEAN])
def test_at_radius_zero_it_is_ordinary_training(name):
    x, y = batch()
    objective = small(name, **(PLAIN.get(name) or {}))
    found = []
    for each in (objective, Standard()):
        model = network()
        result = ask(each, model, x, y, Linf(0.0))
        result.loss.backward()
        if result.finish is not None:
            result.finish()
        found.append((result.loss, torch.cat([w.grad.flatten() for w in model.parameters()])))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-5)


ROUNDED = {"grad-align"}  # the cosine of two equal gradients is 1 up to rounding


@over([name for name in NAMES if name not in {*NOT_CLEAN, *ROUNDED}])
def test_at_radius_zero_the_weight_step_is_ordinary_to_the_bit(name):
    """With batch norm, which attacks leave alone in evaluation mode."""
    x, y = batch()
    changes = PLAIN.get(name) or {}
    if "attack_mode" in {field.name for field in fields(small(name))}:
        changes = changes | {"attack_mode": "eval"}
    found = []
    for each in (small(name, **changes), Standard()):
        model = network(norm=True)
        result = ask(each, model, x, y, Linf(0.0))
        result.loss.backward()
        if result.finish is not None:
            result.finish()
        found.append(torch.cat([w.grad.flatten() for w in model.parameters()]))
    assert torch.equal(*found)


# Randomness


@each_name
def test_the_same_keys_give_the_same_bits(name):
    (x, y), found = batch(), []
    for seed in (1, 2):
        torch.manual_seed(seed)  # of no effect
        results = step(small(name), network(), x, y)
        found.append([(each.loss, each.x_adv) for each in results])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@each_name
def test_neither_order_nor_neighbours_matter_to_a_perturbation(name):
    objective, (x, y) = small(name), batch(7)
    model = network(norm=True).eval()
    whole = ask(objective, model, x, y)
    if whole.finish is not None:
        whole.loss.backward()
        whole.finish()
    parts = ([3, 0, 6, 4, 1, 2, 5],) if isinstance(objective, Mixup) else ([3, 0, 6, 4], [5])
    for rows in map(torch.tensor, parts):
        shown = visit(7, places=rows)
        part = ask(objective, model, x[rows], y[rows], keys=Keys.of(4, rows), visit=shown)
        assert torch.allclose(part.x_adv, whole.x_adv[rows], atol=1e-6)
        if part.finish is not None:
            part.loss.backward()
            part.finish()


@each_name
def test_without_keys_the_examples_are_their_own(name):
    x, y = batch()
    rows = torch.tensor([3, 0, 4, 1, 2])
    results = [
        ask(small(name), network(), x[order], y[order], keys=None, visit=visit(5, places=order))
        for order in (torch.arange(5), rows)
    ]
    assert torch.allclose(results[0].x_adv[rows], results[1].x_adv, atol=1e-6)


@each_name
def test_without_a_visit_it_works_or_asks_for_one(name):
    x, y = batch()
    result, refusal = refusal_of(lambda: ask(small(name), network(), x, y, visit=None))
    assert refusal.startswith("visit=None: is needed by") or finite(result.loss)
