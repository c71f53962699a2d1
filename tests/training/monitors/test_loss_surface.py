import pytest
import torch

from holdfast.measures.loss_surface import LossSurface as Measure
from holdfast.models.weights import read_tensors
from holdfast.threats import Linf
from holdfast.training.monitors import LossSurface
from training.monitors.test_catastrophic import scene
from training.tiny import network


class Bump(torch.nn.Module):
    """A loss that is largest half way of every step from 0.5."""

    def forward(self, x):
        first = x.flatten(1)[:, 0]
        logit = (0.01 * first - ((first - 0.5).abs() - 0.05).abs()) * 50
        return torch.stack([-logit, logit], dim=1)


def test_slices_are_written_when_the_surface_becomes_distorted(tmp_path):
    x, y = torch.full((4, 2, 5, 4), 0.5), torch.zeros(4, dtype=torch.int64)
    there = scene(Bump(), Linf(0.1), x=x, y=y, folder=tmp_path)
    monitor = LossSurface(measure=Measure(points=5), action="stop", examples=3)
    first = monitor.look(there, {})
    assert first.figures == {"distorted": 1.0}
    assert (first.warning, list(tmp_path.iterdir())) == (None, [])
    second = monitor.look(there, {"distorted": 0.0})
    assert (second.action, second.past) == ("stop", {"distorted": 1.0})
    assert "100% after 0%" in second.warning
    tensors, texts = read_tensors(tmp_path / "loss-surface-7.safetensors")
    assert tensors["losses"].shape == (3, 5, 5)
    assert texts["step"] == "7"
    losses = tensors["losses"][0, :, 2]
    assert losses.argmax() in (1, 3)


def test_a_smooth_network_is_not_distorted_at_a_small_radius():
    found = LossSurface(measure=Measure(points=5)).look(scene(network(), Linf(0.01)), {})
    assert found.figures["distorted"] == pytest.approx(0.0, abs=0.1)
