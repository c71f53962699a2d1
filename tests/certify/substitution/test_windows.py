import pytest
import torch
from torch import nn

from certify.nets import inputs
from holdfast.certify import capture
from holdfast.certify.substitution.rows import Dense, Memo
from holdfast.certify.substitution.units import Units
from holdfast.certify.substitution.windows import Window, added

CHAINS = {
    "strided": [nn.Conv2d(2, 3, 3, 2, 1), nn.Conv2d(3, 4, 2, (1, 2), (1, 0))],
    "dilated": [nn.Conv2d(2, 4, 2, 1, 2, dilation=2), nn.Conv2d(4, 6, 3, 2, 1, groups=2)],
    "scaled": [nn.Conv2d(2, 3, 2, 1, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 3, 1, 1)],
    "pooled": [nn.Conv2d(2, 3, 2), nn.AvgPool2d(2, 1), nn.Conv2d(3, 2, 2, 1, 1)],
}
SHAPE = (2, 12, 11)


def _captured(name):
    model = nn.Sequential(*CHAINS[name]).double().eval()
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    return capture(model, SHAPE)


def _units(graph, count):
    shape = graph.output_shape
    unit = torch.arange(count) * 7 % torch.Size(shape).numel()
    return Units(unit, shape, torch.ones((), dtype=torch.float64), Memo())


def _pulled(graph, rows):
    values = graph.constants.bind(torch.float64, torch.device("cpu"))
    steps = [rows]
    for node in graph.nodes[:0:-1]:
        rows = rows.clean().pulled(node, graph.nodes[node.inputs[0]].shape, values)
        steps.append(rows)
    return steps


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("count", [3, 80])
def test_windows_are_pulled_as_whole_layers_are(name, count):
    """Few rows go by a transposed convolution, many by its matrix."""
    graph = _captured(name)
    units = _units(graph, count)
    windows, whole = _pulled(graph, units), _pulled(graph, units.dense())
    assert any(isinstance(rows, Window) for rows in windows)
    for one, other in zip(windows, whole, strict=True):
        torch.testing.assert_close(
            one.clean().dense().values, other.dense().values, atol=1e-12, rtol=0
        )


@pytest.mark.parametrize("count", [3, 80])
def test_a_table_is_read_where_the_rows_are(count):
    rows = _pulled(_captured("strided"), _units(_captured("strided"), count))[1]
    table, image = inputs(4, rows.shape), torch.arange(count) % 4
    wanted = rows.clean().dense().values * table[image]
    for most in (2**22, 0):
        rows.memo.__init__(most=most)
        found = rows.of(rows.values * rows.field(table, image)).dense().values
        torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    shared = rows.field(table[:1], image)
    torch.testing.assert_close(
        rows.of(rows.values * shared).dense().values,
        rows.clean().dense().values * table[:1],
        atol=1e-12,
        rtol=0,
    )


def test_sums_of_windows_and_of_others():
    graph, wide = _captured("dilated"), _captured("strided")
    rows = _pulled(graph, _units(graph, 5))[1]
    for other in (rows.of(2 * rows.values), _shifted(rows), rows.dense()):
        total = added(rows, other)
        wanted = rows.clean().dense().values + other.clean().dense().values
        torch.testing.assert_close(total.clean().dense().values, wanted, atol=1e-12, rtol=0)
    assert isinstance(added(rows, _shifted(rows)), Window)
    assert isinstance(added(rows, rows.dense()), Dense)
    assert wide.output_shape != graph.output_shape


def _shifted(rows):
    """A larger window that begins elsewhere."""
    from dataclasses import replace

    values = inputs(len(rows.values), (*rows.values.shape[1:2], 4, 2))
    return replace(rows, values=values, padding=(rows.padding[0] + 1, rows.padding[1] - 1))
