"""What every monitor of the catalogue keeps to."""

import json

import pytest
import torch

from holdfast.core.recipes import build, to_dict
from holdfast.threats import Linf
from holdfast.training.monitors import MONITORS, Monitor, Reading
from training.monitors.test_catastrophic import scene
from training.tiny import examples, network, weights

each_monitor = pytest.mark.parametrize("name", MONITORS)


def there(net, *, count=11, classes=3, **changes):
    data = examples(count, classes=classes)
    values = {"x": data.inputs(), "y": data.labels, "training": data, "validation": data}
    return scene(net, Linf(0.1), **values | changes)


@each_monitor
def test_it_leaves_the_network_as_found_and_reads_the_same_again(name):
    monitor = MONITORS[name].load()()
    assert isinstance(monitor, Monitor)
    net = network(norm=True, dropout=0.4).train()
    net[1].eval()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    before, modes = weights(net), [each.training for each in net.modules()]
    first = monitor.look(there(net), {})
    assert isinstance(first, Reading)
    assert monitor.look(there(net), {}) == first
    assert torch.equal(weights(net), before)
    assert [each.training for each in net.modules()] == modes
    assert all((each.grad == 1).all() for each in net.parameters())
    assert all(each.requires_grad for each in net.parameters())


@each_monitor
def test_its_past_is_plain_and_its_record_can_be_rebuilt(name):
    kind = MONITORS[name].load()
    monitor = kind()
    found = monitor.look(there(network()), {})
    past = json.loads(json.dumps(found.past))
    assert all(isinstance(float(value), float) for value in found.figures.values())
    assert monitor.look(there(network()), past) == monitor.look(there(network()), found.past)
    assert build(kind, to_dict(monitor)) == monitor
    assert build(kind, {"every": 7}).every == 7


@each_monitor
def test_one_example_and_two_classes_suffice(name):
    monitor = MONITORS[name].load()()
    found = monitor.look(there(network(classes=2), count=1, classes=2), {})
    assert all(abs(value) < float("inf") for value in found.figures.values())
