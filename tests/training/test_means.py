import pytest
import torch

from holdfast.training.distributed import World
from holdfast.training.means import Means

ALONE = World(0, 1, torch.device("cpu"))


def test_means_are_weighted_by_examples():
    means = Means()
    means.add({"loss": torch.tensor(1.0), "accuracy": torch.tensor(0.5)}, 4)
    means.add({"loss": torch.tensor(4.0), "accuracy": torch.tensor(0.0)}, 2)
    assert means.read(ALONE) == pytest.approx({"loss": 2.0, "accuracy": 1 / 3})
    means.reset()
    assert means.read(ALONE) == {}


def test_saved_sums_go_on():
    first, second = Means(), Means()
    first.add({"loss": torch.tensor(1.0)}, 3)
    second.restore(first.sums, first.rows, ALONE.device)
    for each in (first, second):
        each.add({"loss": torch.tensor(0.1)}, 5)
    assert first.read(ALONE) == second.read(ALONE)
