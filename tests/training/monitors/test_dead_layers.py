import pytest
import torch

from holdfast.threats import Linf
from holdfast.training.monitors import DeadLayers
from training.monitors.test_catastrophic import scene
from training.tiny import network


def test_a_dead_layer_is_reported_once():
    net = network()
    alive = DeadLayers(action="stop").look(scene(net, Linf(0.1)), {})
    assert (alive.figures["layers"], alive.warning, alive.action) == (0, None, "none")
    assert alive.figures["spread"] > 0
    with torch.no_grad():
        net[0].bias.fill_(-99)
    dead = DeadLayers(action="stop").look(scene(net, Linf(0.1)), alive.past)
    assert dead.figures == {
        "dead": 1.0,
        "active": 0.0,
        "layers": 1.0,
        "spread": pytest.approx(0.0, abs=1e-6),
    }
    assert (dead.warning, dead.action) == ("dead layers at step 7: 2", "stop")
    again = DeadLayers(action="stop").look(scene(net, Linf(0.1)), dead.past)
    assert (again.warning, again.action) == (None, "none")
