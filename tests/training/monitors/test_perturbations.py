import pytest
from torch import nn

from holdfast.threats import Linf
from holdfast.training.monitors import PerturbationShape
from training.monitors.test_catastrophic import scene
from training.tiny import examples, network


def test_of_a_linear_model_both_attacks_end_at_the_corner():
    net = nn.Sequential(nn.Flatten(), nn.Linear(40, 2))
    data = examples(11, classes=2)
    threat = Linf(0.05, box=None)
    x = data.inputs()
    trained = x.clone()
    trained[:, 0] += 0.025
    there = scene(net, threat, x=x, y=data.labels, x_adv=trained)
    found = PerturbationShape().look(there, {}).figures
    assert found["boundary"] == pytest.approx(1.0)
    assert found["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert found["l2"] == pytest.approx(0.05 * 40**0.5, rel=1e-4)
    assert found["trained_boundary"] == 0
    assert found["trained_mean_abs"] == pytest.approx(0.25, rel=1e-4)
    assert found["trained_l2"] == pytest.approx(0.025 * 20**0.5, rel=1e-4)


def test_without_trained_inputs_their_figures_are_left_out():
    found = PerturbationShape().look(scene(network(), Linf(0.1)), {}).figures
    assert not [name for name in found if name.startswith("trained")]
