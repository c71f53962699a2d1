import torch

from certify.nets import inputs
from certify.substitution.test_windows import _captured, _units
from holdfast.certify import capture
from holdfast.certify.operators.affine import Linear
from holdfast.certify.substitution.rows import Dense, Memo
from holdfast.certify.substitution.units import Units
from holdfast.certify.substitution.windows import Window


def test_units_are_single_coefficients():
    units = _units(_captured("strided"), 9)
    dense = units.dense().values.flatten(1)
    assert (dense.sum(1) == 1).all()
    assert (dense.gather(1, units.unit.unsqueeze(1)) == 1).all()
    torch.testing.assert_close(units.negated().dense().values, -units.dense().values)
    opened = units.opened(2 * units.values)
    assert isinstance(opened, Window)
    torch.testing.assert_close(opened.dense().values, 2 * units.dense().values)
    table = inputs(2, units.shape)
    image = torch.arange(9) % 2
    torch.testing.assert_close(
        units.field(table, image).squeeze(1),
        (units.dense().values * table[image]).flatten(1).sum(1),
    )
    flat = Units(torch.tensor([2, 0]), (3,), torch.ones(()), Memo())
    assert flat.opened(flat.values).values.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_the_first_pull_selects_rows_of_a_linear_layer():
    graph = capture(torch.nn.Sequential(torch.nn.Linear(4, 3)), (4,))
    node = graph.nodes[1]
    assert isinstance(node.op, Linear)
    values = graph.constants.bind(torch.float32, torch.device("cpu"))
    units = Units(torch.tensor([2, 0, 2]), (3,), torch.ones(()), Memo())
    weight = graph.constants.model[0].weight.detach()
    pulled = units.pulled(node, (4,), values)
    assert isinstance(pulled, Dense)
    assert torch.equal(pulled.values, weight[[2, 0, 2]])
    assert torch.equal(units.negated().pulled(node, (4,), values).values, -weight[[2, 0, 2]])
