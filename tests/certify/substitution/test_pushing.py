import pytest
import torch

from certify.nets import graph, inputs, samples
from holdfast.certify import capture
from holdfast.certify.bounds.forward import Coordinates
from holdfast.certify.operators.lines import Lines
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.pushing import (
    Form,
    Push,
    aligned,
    met,
    picked,
    read_by_nonlinear,
)
from holdfast.certify.substitution.regions import around
from holdfast.threats import Linf

KINDS = ["adaptive", "parallel", "symbols"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def walk_of(captured, x, eps, kind, *, rigorous=True, plain=True):
    region = around(Linf(eps, box=None), x, rigorous=rigorous)
    variables = Coordinates(region, kind == "symbols", rigorous)
    values = captured.constants.bind(x.dtype, x.device)
    rounding = variables if rigorous else None
    return Push(captured, values, variables, kind, rounding, plain)


@each_kind
@pytest.mark.parametrize("name", ["conv", "pooled", "residual", "functional"])
def test_forms_enclose_every_node(name, kind):
    """Form by form, not only their ends: errors of units in [-1, 1] take what is left open."""
    captured, x = graph(name), inputs(2)
    walk = walk_of(captured, x, 0.05, kind)
    walk.last = dict.fromkeys(range(len(captured.nodes)), -1)  # keeps the forms of all nodes
    walk.run()
    points = samples(x - 0.05, x + 0.05, 60)
    with torch.no_grad():
        images = captured.walk(
            points.flatten(0, 1), lambda node, each, values: node.op.forward(each, values), like=x
        )
    count = x[0].numel()
    for node in captured.nodes:
        form = walk.forms[node.place]
        value = images[node.place].view(60, 2, *node.shape)
        flat = points.flatten(2)
        low, high = form.low, form.high
        if form.lower.shape[1]:
            batch = (2, -1, *node.shape)
            lower, upper = form.lower.expand(*batch), form.upper.expand(*batch)
            rest = [each[:, count:].abs().sum(1) for each in (lower, upper)]
            low = torch.einsum("sbn,bn...->sb...", flat, lower[:, :count]) + low - rest[0]
            high = torch.einsum("sbn,bn...->sb...", flat, upper[:, :count]) + high + rest[1]
        assert (low <= value + 1e-13).all()
        assert (value <= high + 1e-13).all()
        assert (walk.boxes[node.place].lower <= value).all()
        assert (value <= walk.boxes[node.place].upper).all()


def test_every_unit_has_its_own_symbol_and_keeps_it():
    captured, x = graph("residual"), inputs(2)
    walk = walk_of(captured, x, 0.02, "symbols").run()
    form = walk.forms[len(captured.nodes) - 1]
    assert form.shared
    assert form.lower.shape[1] == walk.columns > x[0].numel()
    torch.testing.assert_close(form.high - form.low, torch.zeros(2, 5).double(), atol=1e-9, rtol=0)


@each_kind
def test_rounding_moves_both_intercepts_outwards(kind):
    captured, x = graph("residual"), inputs(2)
    last = len(captured.nodes) - 1
    safe, fast = (
        walk_of(captured, x, 0.02, kind, rigorous=rigorous).run().forms[last]
        for rigorous in (True, False)
    )
    assert (safe.low < fast.low).all()
    assert (safe.high > fast.high).all()
    torch.testing.assert_close(safe.low, fast.low, atol=1e-5, rtol=1e-5)


@each_kind
def test_underflow_and_rounding_are_paid_for(kind):
    """x + 2^54 - 2^54 - 0.5 on [-1, 1]: the true minimum is -1.5, float64 computes -0.5."""
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.ReLU(), torch.nn.Linear(1, 1))
    model = model.double()
    with torch.no_grad():
        for layer, bias in ((model[0], 2.0**54), (model[2], -(2.0**54) - 0.5)):
            layer.weight.fill_(1.0)
            layer.bias.fill_(bias)
    x = torch.zeros(1, 1, dtype=torch.float64)
    walk = walk_of(capture(model, (1,)), x, 1.0, kind).run()
    form = walk.forms[3]
    assert walk.variables.ends(form).lower.item() <= -1.5


def test_known_boxes_are_taken():
    captured, x = graph("conv"), inputs(2)
    first = min(read_by_nonlinear(captured))
    zero = torch.zeros(2, *captured.nodes[first].shape, dtype=torch.float64)
    walk = walk_of(captured, x, 0.02, "parallel")
    walk.known = {first: Box(zero, zero + 1)}
    assert torch.equal(walk.run(first + 1).boxes[first].upper, zero + 1)
    assert len(walk.boxes) == first + 1


def test_nodes_that_need_boxes():
    """Those that a ReLU, a clamp or a pool reads, if they are linear."""
    captured = graph("pooled")
    names = [type(captured.nodes[place].op).__name__ for place in read_by_nonlinear(captured)]
    assert names == ["Convolution"]


def test_slopes_of_either_sign_take_the_right_form():
    walk = walk_of(graph("conv"), inputs(1), 0.1, "adaptive", rigorous=False)
    table = torch.tensor([1.0, 2.0]).view(1, 1, 2)
    form = Form(table, table + 10, torch.zeros(1, 2), torch.ones(1, 2))
    slopes = torch.tensor([[2.0, -2.0]])
    lines = Lines(slopes, torch.full((1, 2), 0.5), slopes, torch.full((1, 2), 0.75))
    found = walk._lined(form, lines)
    assert found.lower.flatten().tolist() == [2.0, -24.0]
    assert found.upper.flatten().tolist() == [22.0, -4.0]
    assert found.low.flatten().tolist() == [0.5, -1.5]
    assert found.high.flatten().tolist() == [2.75, 0.75]


def test_forms_over_different_variables_are_filled_with_zeros():
    one, two = torch.ones(1, 2, 3), torch.ones(4, 5, 3)
    zero = torch.zeros(4, 3)
    first, second = aligned([Form(one, one, zero, zero), Form(two, two + 1, zero, zero)])
    assert first.lower.shape == second.lower.shape == (4, 5, 3)
    assert first.shared
    assert not second.shared
    assert first.lower[:, 2:].abs().sum() == 0


def test_boxes_that_miss_each_other_keep_the_first():
    zero, one = torch.zeros(2), torch.ones(2)
    low = torch.tensor([0.5, 5.0])
    found = met(Box(zero, one), Box(low, low + 1))
    assert found.lower.tolist() == [0.5, 0.0]
    assert found.upper.tolist() == [1.0, 1.0]


def test_numbers_are_picked_among_all_inputs():
    first, second = torch.arange(6.0).view(2, 3), 10 + torch.arange(8.0).view(2, 4)
    place = torch.tensor([[0, 3], [6, 1]])
    assert picked([first, second], place, 1).tolist() == [[0.0, 10.0], [17.0, 4.0]]
    columns = [each.unsqueeze(1).expand(-1, 5, -1) for each in (first, second)]
    assert picked(columns, place, 2)[1].tolist() == [[17.0, 4.0]] * 5
