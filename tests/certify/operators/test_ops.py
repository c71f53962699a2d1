from fractions import Fraction

import torch

from certify.nets import graph, inputs
from holdfast.certify.operators.affine import Linear
from holdfast.certify.operators.constants import Constant, Constants, Fixed
from holdfast.certify.operators.ops import Input, center_radius, plus
from holdfast.certify.operators.structural import Negate, Subtract
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


def test_forms_are_pushed_by_the_sign_of_the_weight():
    weight = torch.tensor([[2.0, -3.0]])
    values = Constants(None, (Fixed(weight), Fixed(torch.ones(1)))).bind(
        torch.float32, torch.device("cpu")
    )
    op = Linear(Constant(0), Constant(1))
    low, high = torch.tensor([[1.0, 10.0]]), torch.tensor([[100.0, 1000.0]])
    assert [each.item() for each in op.push(low, high, values)] == [2 - 3000, 200 - 30]
    assert [each.item() for each in op.push(low, low, values)] == [2 - 30, 2 - 30]
    box = Subtract().push([Box(low, high), Box(low + 1, high + 1)], values)
    assert box.lower.tolist() == [[1 - 101, 10 - 1001]]
    assert box.upper.tolist() == [[100 - 2, 1000 - 11]]
    assert [each.tolist() for each in Negate().push(low, high, values)] == [
        [[-100, -1000]],
        [[-1, -10]],
    ]
