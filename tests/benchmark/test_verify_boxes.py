import torch

from holdfast.benchmark.verify_boxes import Boxes, InputBox, divisible, halves


def boxes(*ends):
    low, high = (torch.tensor(each, dtype=torch.float64) for each in zip(*ends, strict=True))
    return Boxes(low, high)


TWO = boxes(([0.0, 0.0, 1.0], [4.0, 2.0, 1.0]), ([-1.0, 0.1, 1.0], [1.0, 0.3, 1.0]))


def test_the_support_is_attained_at_a_corner():
    threat = InputBox(TWO.lower, TWO.upper)
    v = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    corners = torch.where(v > 0, TWO.upper[:, None], TWO.lower[:, None])
    assert torch.allclose(threat.support(v, TWO.center), (v * corners).sum(2))
    assert threat.rows(torch.tensor([1])).lower.tolist() == [[-1.0, 0.1, 1.0]]
    assert threat.contains(TWO.center, TWO.center).all()
    assert not threat.contains(TWO.upper + 1e-9, TWO.center).any()


def test_halves_cover_the_box_exactly():
    both = halves(TWO, torch.ones(2, 3).double(), torch.ones(3).double())
    assert both.count == 4
    left, right = both[:2], both[2:]
    side = (left.upper < TWO.upper).double().argmax(1, keepdim=True)
    assert torch.equal(left.upper.gather(1, side), right.lower.gather(1, side))
    assert torch.equal(torch.minimum(left.lower, right.lower), TWO.lower)
    assert torch.equal(torch.maximum(left.upper, right.upper), TWO.upper)


def test_the_side_of_the_largest_change_is_cut():
    slope = torch.tensor([[1.0, 3.0, 9.0], [0.0, 0.0, 0.0]]).double()
    both = halves(TWO, slope, torch.tensor([10.0, 0.2, 0.0]).double())
    assert both.upper[0].tolist() == [4.0, 1.0, 1.0]  # 3 x 2 > 1 x 4; the last side is a point
    assert both.upper[1].tolist()[0] == 1.0  # without a slope: the share of the root, 1 > 0.2
    assert both.upper[1].tolist()[1] < 0.3


def test_neighbouring_numbers_cannot_be_cut():
    one = torch.tensor(1.0, dtype=torch.float64)
    box = Boxes(one.reshape(1, 1), torch.nextafter(one, 2 * one).reshape(1, 1))
    assert not divisible(box).any()
    assert divisible(TWO).tolist() == [[True, True, False], [True, True, False]]
