import pytest
import torch
from torch import nn

from certify.nets import graph, inputs, samples
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.graphs.graph import capture
from holdfast.threats import L2, Linf


def programme(net, x, threat, **options):
    return condensed(net, x.double(), threat, **options)


def operate(block, z):
    """What the units of a block give at the forms that they read."""
    low, below, high, above = block.lines
    if block.op is not None:
        return block.op.forward([z], None), None
    first, second = z.chunk(2, dim=1)
    return low * first + below, high * second + above


@pytest.mark.parametrize("name", ["conv", "residual"])
@pytest.mark.parametrize("threat", [Linf(0.08), L2(0.3)])
def test_the_network_is_the_same_function_inside_the_set(name, threat):
    x = inputs(1)
    program = programme(graph(name), x, threat)
    lower, upper = (end[0] for end in threat.hull(x))
    points = (
        samples(lower, upper, 40)
        if isinstance(threat, Linf)
        else threat.project(samples(lower, upper, 40), x.expand(40, *x.shape[1:]))
    )
    values = points.flatten(1)
    assert program.units > 0
    for block in program.blocks:
        z = block.reads.of(values)
        assert (z >= block.box.lower - 1e-9).all()
        assert (z <= block.box.upper + 1e-9).all()
        values = torch.cat((values, operate(block, z)[0]), dim=1)
    found, truth = program.outputs.of(values), graph(name).forward(points)
    assert ((found - truth).abs() <= program.outputs.error + 1e-9).all()
    assert float(program.outputs.error.max()) < 1e-9


def test_units_that_saturate_keep_their_constants():
    net = nn.Sequential(nn.Linear(3, 5), nn.Hardtanh(-0.5, 0.25), nn.Linear(5, 2)).double()
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([3.0, -3.0, 0.1, 0.0, 0.2]))
    x = inputs(1, (3,))
    program = programme(capture(net, (3,)), x, Linf(0.05))
    assert program.units < 4
    values = points = samples(x[0] - 0.05, x[0] + 0.05, 40)
    for block in program.blocks:
        values = torch.cat((values, operate(block, block.reads.of(values))[0]), dim=1)
    torch.testing.assert_close(program.outputs.of(values), net(points), atol=1e-9, rtol=0)


def pooled():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 4)
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return net.double()


def test_a_maximum_lies_between_its_two_forms():
    net, x = pooled(), inputs(1, (2, 6, 4))
    program = programme(capture(net, (2, 6, 4)), x, Linf(0.1))
    assert any(block.paired and len(block.unit) for block in program.blocks)
    points = samples(x[0] - 0.1, x[0] + 0.1, 60)
    hidden = net[:2](points)
    values, truths = points.flatten(1), [hidden.flatten(1), net[2](hidden).flatten(1)]
    for block, truth in zip(program.blocks, truths, strict=True):
        z, own = block.reads.of(values), truth[:, block.unit]
        if block.paired:
            least, most = operate(block, z)
            assert (least <= own + 1e-9).all()
            assert (own <= most + 1e-9).all()
        values = torch.cat((values, own), dim=1)
    torch.testing.assert_close(program.outputs.of(values), net(points), atol=1e-8, rtol=0)


def test_a_node_without_lines_is_held_by_its_box():
    net = nn.Sequential(nn.Linear(3, 4), nn.Softplus(), nn.Linear(4, 2)).double()
    try:
        found = capture(net, (3,))
    except Exception:
        pytest.skip("the operation is not captured")
    program = programme(found, inputs(1, (3,)), Linf(0.1))
    assert all(block.left is None for block in program.blocks)


def test_forms_name_the_columns_that_they_see():
    program = programme(graph("conv"), inputs(1), Linf(0.08))
    for forms in (program.outputs, *(block.reads for block in program.blocks)):
        seen = torch.zeros(forms.rows.shape[1], dtype=torch.bool)
        for part in forms.sources:
            assert not seen[part].any()
            seen[part] = True
        assert (forms.rows[:, ~seen] == 0).all()


@pytest.mark.parametrize("name", ["conv", pytest.param("residual", marks=pytest.mark.slow)])
def test_pieces_of_a_list_give_the_same_forms(name):
    x = inputs(1)
    whole = programme(graph(name), x, Linf(0.05))
    parts = programme(graph(name), x, Linf(0.05), memory=1)
    torch.testing.assert_close(whole.outputs.rows, parts.outputs.rows, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        whole.blocks[-1].reads.rows, parts.blocks[-1].reads.rows, atol=1e-12, rtol=0
    )


def test_a_point_leaves_no_unit_open():
    program = programme(graph("conv"), inputs(1), Linf(0.0))
    assert program.units < 8  # what the tolerance of membership leaves
