from fractions import Fraction

import torch

from certify.nets import graph, inputs
from holdfast.certify.affine import Linear
from holdfast.certify.constants import Constant, Constants, Fixed
from holdfast.certify.ops import Input, center_radius, plus
from holdfast.certify.rounding import Box


def test_center_and_radius_cover_the_box_up_to_one_rounding():
    """Over the rationals: both ends lie within radius (1 + 2^-52) of the center."""
    start = inputs(1, (60,))[0] - 0.5
    width = inputs(1, (60,), seed=9)[0] * torch.exp2(torch.linspace(-60, 60, 60).double())
    center, spread = center_radius(Box(start, start + width))
    for c, r, low, high in zip(
        *(each.tolist() for each in (center, spread, start, start + width)), strict=True
    ):
        reach = Fraction(r) * (1 + Fraction(2) ** -52)
        assert Fraction(c) - Fraction(low) <= reach
        assert Fraction(high) - Fraction(c) <= reach
        assert Fraction(r) <= (Fraction(high) - Fraction(low)) / 2 + abs(Fraction(c)) / 2**52


def test_equal_ends_have_no_radius():
    x = inputs(3) * 1e200
    center, spread = center_radius(Box(x, x))
    assert torch.equal(center, x)
    assert (spread == 0).all()


def test_the_size_of_an_affine_map_bounds_every_value_of_the_box():
    values = Constants(None, (Fixed(inputs(1, (4, 6))[0] - 0.5), Fixed(inputs(1, (4,))[0]))).bind(
        torch.float64, torch.device("cpu")
    )
    op, x = Linear(Constant(0), Constant(1)), inputs(3, (6,)) - 0.5
    assert (op.forward([x], values).abs() <= op.size(x.abs(), values)).all()
    assert (op.size(0 * x, values) == values[Constant(1)].abs()).all()


def test_the_input_passes_boxes_on():
    box = Box(torch.zeros(1), torch.ones(1))
    assert Input().interval([box], None, rigorous=True) is box
    assert plus(box.upper, None) is box.upper


def test_nodes_list_their_constants():
    node = graph("conv").nodes[1]
    assert node.constants == [node.op.weight, node.op.bias]
    assert graph("conv").nodes[2].constants == []
