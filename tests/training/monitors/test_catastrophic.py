import copy

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.random import Keys
from holdfast.core.recipes import build
from holdfast.data import load_data
from holdfast.threats import Linf
from holdfast.training import Recipe, train
from holdfast.training.monitors import Catastrophic, Scene
from holdfast.training.monitors.catastrophic import judged
from holdfast.training.resizing import resized
from training.tiny import examples, network, weights


def scene(net, threat, **changes):
    data = examples(11)
    values = {
        "network": net,
        "kept": net,
        "x": data.inputs(),
        "y": data.labels,
        "x_adv": None,
        "keys": Keys.of(3, data.index),
        "threat": threat,
        "step": 7,
        "epoch": 2,
        "seed": 3,
        "training": data,
        "validation": None,
    }
    return Scene(**values | changes)


def course(robust, once=None, *, drop=0.2, floor=0.3):
    """At which looks a sequence of accuracies fires, from 1."""
    past, fired = {}, []
    for look, accuracy in enumerate(robust, start=1):
        other = accuracy if once is None else once[look - 1]
        past, text = judged(past, accuracy, other, drop=drop, floor=floor)
        fired += [look] if text else []
    return fired


@pytest.mark.parametrize(
    ("robust", "looks"),
    [
        ((0.4, 0.42, 0.1), [3]),
        ((0.4, 0.35, 0.3), []),
        ((0.30, 0.35, 0.40, 0.05), [4]),
        ((0.40, 0.25), []),
        ((0.0, 0.1, 0.3), []),
        ((0.5, 0.1, 0.0, 0.0), [2]),
        ((0.5, 0.1, 0.45, 0.1), [2, 4]),
    ],
)
def test_an_absolute_fall_fires_once(robust, looks):
    assert course(robust, [0.0] * len(robust)) == looks


def test_a_slow_fall_below_a_part_of_the_best_fires_unless_one_step_falls_too():
    slow = (0.5, 0.35, 0.2, 0.14)
    assert course(slow, (0.5, 0.6, 0.7, 0.8)) == [4]
    assert course(slow, (0.5, 0.35, 0.2, 0.1)) == []
    assert course(slow, (0.5, 0.6, 0.7, 0.8), floor=0.25) == []


def test_a_fall_of_both_accuracies_is_no_overfitting():
    assert course((0.6, 0.35), (0.7, 0.45)) == []
    assert course((0.6, 0.35), (0.7, 0.55)) == [2]


def test_accuracies_at_the_level_of_guessing_do_not_fire():
    past, _ = judged({}, 0.15, 0.1, drop=0.2, floor=0.3, chance=0.1)
    assert judged(past, 0.03, 0.1, drop=0.2, floor=0.3, chance=0.1)[1] is None
    past, _ = judged({}, 0.31, 0.4, drop=0.5, floor=0.3, chance=0.1)
    assert judged(past, 0.03, 0.4, drop=0.2, floor=0.3, chance=0.1)[1] is not None


def test_it_says_what_fell():
    past, _ = judged({}, 0.4, 0.5, drop=0.2, floor=0.3)
    after, text = judged(past, 0.1, 0.8, drop=0.2, floor=0.3)
    assert "from 0.400 to 0.100" in text
    assert after == {
        "previous": 0.1,
        "previous_once": 0.8,
        "best": 0.4,
        "best_once": 0.8,
        "collapsed": True,
    }


def test_for_a_linear_loss_one_step_is_the_exact_attack():
    net = nn.Sequential(nn.Flatten(), nn.Linear(40, 2)).requires_grad_(True)
    data = examples(11, classes=2)
    there = scene(net, Linf(0.05, box=None), y=data.labels, x=data.inputs())
    found = Catastrophic(attack=PGD(steps=5, restarts=1, step_size="eps"), examples=None).look(
        there, {}
    )
    assert found.figures["alignment"] == pytest.approx(1.0, abs=1e-5)
    assert found.figures["loss_ratio"] == pytest.approx(1.0, abs=1e-5)
    assert found.figures["pgd_accuracy"] == found.figures["fgsm_accuracy"]
    x = there.x + 0.05 * (net[1].weight[1 - there.y] - net[1].weight[there.y]).sign().view_as(
        there.x
    )
    right = (net(x).argmax(dim=1) == there.y).double().mean()
    assert found.figures["pgd_accuracy"] == float(right)


def test_the_network_is_left_alone_and_equal_scenes_read_equal():
    net = network(norm=True, dropout=0.4).train()
    net[1].eval()
    before, modes = weights(net), [each.training for each in net.modules()]
    first = Catastrophic().look(scene(net, Linf(0.1)), {})
    assert torch.equal(weights(net), before)
    assert [each.training for each in net.modules()] == modes
    assert all(each.grad is None for each in net.parameters())
    assert Catastrophic().look(scene(copy.deepcopy(net).eval(), Linf(0.1)), {}) == first
    assert first.figures["pgd_accuracy"] <= first.figures["clean_accuracy"]


def test_what_it_asks_for_is_its_action():
    past = {"previous": 1.0, "best": 1.0}
    fooled = examples(11).labels.add(1) % 3
    there = scene(network(), Linf(0.3), y=fooled)
    for action in ("none", "stop", "rollback"):
        found = Catastrophic(action=action, examples=None).look(there, past)
        assert found.figures["pgd_accuracy"] < 0.8
        assert found.action == action
        assert found.warning.startswith("catastrophic overfitting at step 7: ")
    assert Catastrophic(examples=None).look(there, found.past).warning is None


def test_the_examples_are_the_same_at_every_look_or_the_batch():
    net, monitor = network(), Catastrophic(examples=6)
    there = scene(net, Linf(0.1))
    fixed = monitor.look(there, {}).figures
    part = examples(11).select([0, 1, 3, 5, 7, 9])
    other = scene(net, Linf(0.1), x=torch.rand(4, 2, 5, 4), y=torch.tensor([0, 1, 2, 0]), step=9)
    assert monitor.look(other, {}).figures == fixed
    right = net.eval()(part.inputs()).argmax(dim=1) == part.labels
    assert fixed["clean_accuracy"] == float(right.double().mean())
    assert Catastrophic(examples=None).look(there, {}).figures != fixed


def collapsing(objective, threat="linf:0.2", **monitor):
    """Digits at twice their size and a large radius, where training on one step collapses."""
    schedule = {"kind": "constant", "value": 0.01}
    radius = {"kind": "linear", "start": 0.0, "end": 1.0, "finish": 0.25}
    training = {"epochs": 24, "batch_size": 64, "schedule": schedule, "radius_schedule": radius}
    values = {
        "threat": threat,
        "objective": objective,
        "seed": 1,
        "model": {"name": "digits_conv", "options": {"width": 16}},
        "data": {"validation": 200},
        "training": training | {"monitors": [{"kind": "catastrophic"} | monitor]},
        "selection": {"attack": "pgd-20-1", "choose": "last"},
    }
    data = resized(load_data("digits", "train"), 16)
    return train(build(Recipe, values), data=data, device="cpu")


@pytest.mark.slow
def test_it_fires_within_an_epoch_of_the_collapse_of_one_step_training():
    watched = collapsing({"kind": "fgsm-rs", "start": "zero"}, action="none")
    robust = [epoch["robust_accuracy"] for epoch in watched.history]
    once = [epoch["catastrophic.fgsm_accuracy"] for epoch in watched.history]
    best = max(range(24), key=robust.__getitem__)
    assert robust[best] > 0.15
    truth = next(e for e in range(best, 24) if robust[e] < 0.3 * robust[best] and once[e] > 0.4)
    fired = [epoch["catastrophic.collapsed"] for epoch in watched.history].index(1.0)
    assert abs(fired - truth) <= 1
    assert max(robust[truth:]) < 0.7 * robust[best]
    result = collapsing({"kind": "fgsm-rs", "start": "zero"})
    assert result.ended["by"] == "catastrophic"
    assert result.ended["epoch"] == len(result.history) == fired + 1
    assert result.ended["restored_epoch"] == result.chosen_epoch == fired
    assert result.final["robust"] == robust[fired - 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "threat"),
    [
        ({"kind": "grad-align", "weight": 1.0}, "linf:0.2"),
        ({"kind": "atas", "step_size": "eps/2"}, "linf:0.2"),
        ({"kind": "fgsm-rs", "step_size": "1.25*eps"}, "linf:0.1"),
    ],
)
def test_it_is_silent_where_training_does_not_collapse(objective, threat):
    result = collapsing(objective, threat)
    assert result.ended is None
    assert not [text for text in result.warnings if "in training" in text]
    assert result.history[-1]["catastrophic.pgd_accuracy"] > 0.3
    assert result.history[-1]["catastrophic.alignment"] > 0.5
