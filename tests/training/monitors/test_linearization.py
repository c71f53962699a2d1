from torch import nn

from holdfast.threats import Linf
from holdfast.training.monitors import Linearization
from training.monitors.test_catastrophic import scene


def test_errors_vanish_with_the_radius_and_grow_with_it():
    there = scene(nn.Sequential(nn.Flatten(), nn.Linear(40, 3)), Linf(0.0))
    small = Linearization().look(there, {}).figures
    large = Linearization().look(scene(there.network, Linf(0.3)), {}).figures
    assert set(small) == {"fgsm_error", "random_error"}
    assert small["fgsm_error"] == small["random_error"] == 0
    assert large["fgsm_error"] > large["random_error"] > 0
