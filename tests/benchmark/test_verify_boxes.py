import pytest
import torch

from benchmark.networks import mlp
from holdfast.benchmark.verify_boxes import Bounded, InputBox
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.rounding import Box

LOWER = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.1, 1.0]], dtype=torch.float64)
UPPER = torch.tensor([[4.0, 2.0, 1.0], [1.0, 0.3, 1.0]], dtype=torch.float64)


def test_the_support_is_attained_at_a_corner():
    threat, center = InputBox(LOWER, UPPER), (LOWER + UPPER) / 2
    v = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    corners = torch.where(v > 0, UPPER[:, None], LOWER[:, None])
    assert torch.allclose(threat.support(v, center), (v * corners).sum(2))
    assert threat.rows(torch.tensor([1])).lower.tolist() == [[-1.0, 0.1, 1.0]]
    assert threat.contains(center, center).all()
    assert not threat.contains(UPPER + 1e-9, center).any()


@pytest.mark.parametrize("mode", ["rigorous", "fast"])
def test_any_method_bounds_boxes_without_slopes(mode):
    bounded = Bounded(Interval(mode=mode), mlp())
    boxes = bounded(Box(LOWER, UPPER))
    lower, slopes = boxes.outputs()
    assert lower.shape == (2, 2)
    assert slopes.shape == (2, 2, 3)
    assert not slopes.any()
    assert not boxes.above(torch.tensor([1]), torch.tensor([0])).any()
    assert boxes.known.lower.shape == (2, 0)
    assert bounded.sound is (mode == "rigorous")
    shares = torch.rand(50, 2, 3, generator=torch.Generator().manual_seed(1)).double()
    points = (LOWER + shares * (UPPER - LOWER)).flatten(0, 1)
    assert (mlp().forward(points).view(50, 2, 2) >= lower - 1e-6).all()
