import pytest
import torch
from torch import nn

from certify.nets import inputs
from holdfast.certify import capture
from holdfast.certify.operators.ops import LinearMap
from holdfast.certify.substitution.rows import Dense, Memo, lengths, sizes

LAYERS = {
    "linear": (nn.Linear(6, 5), (6,)),
    "strided": (nn.Conv2d(2, 4, (3, 2), (2, 1), (1, 0)), (2, 7, 6)),
    "grouped": (nn.Conv2d(4, 6, 2, dilation=2, groups=2), (4, 5, 6)),
    "same": (nn.Conv2d(2, 3, 3, padding="same"), (2, 5, 4)),
    "one axis": (nn.Conv1d(3, 2, 4, 3, 2), (3, 11)),
    "norm": (nn.BatchNorm2d(3), (3, 4, 5)),
    "flat": (nn.Flatten(), (3, 2)),
    "pool": (nn.AvgPool2d(2), (2, 6, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_pull_is_the_transpose(name):
    """<c, W z> = <W' c, z>."""
    layer, shape = LAYERS[name]
    graph = capture(nn.Sequential(layer).double().eval(), shape)
    values = graph.constants.bind(torch.float64, torch.device("cpu"))
    node, z = graph.nodes[-1], inputs(3, shape) - 0.5
    c = inputs(3, node.shape, seed=5) - 0.5
    assert isinstance(node.op, LinearMap)
    with torch.no_grad():
        image = node.op.linear(z, values)
        pulled = Dense(c).pulled(node, shape, values).values
    torch.testing.assert_close((c * image).flatten(1).sum(1), (pulled * z).flatten(1).sum(1))


def test_a_table_is_read_image_by_image():
    rows = Dense(inputs(3, (2, 4)))
    table, image = inputs(2, (2, 4), seed=7) - 0.5, torch.tensor([1, 0, 1])
    assert torch.equal(rows.field(table, image), table[image])
    assert torch.equal(rows.field(table[:1], image), table[:1])
    products = rows.values * table[image]
    torch.testing.assert_close(rows.times(table, image), products)
    torch.testing.assert_close(rows.summed(table, image), products.sum((1, 2)))
    torch.testing.assert_close(rows.sized(table.abs(), image), products.abs().sum((1, 2)))
    torch.testing.assert_close(rows.length(), rows.values.square().sum((1, 2)).sqrt())
    with torch.no_grad():
        torch.testing.assert_close(rows.times(table, image), products)
        torch.testing.assert_close(rows.times(table[:1], image), rows.values * table[:1])
    assert rows.clean() is rows.dense() is rows


def test_sizes_and_lengths():
    values = torch.tensor([[3.0, -4.0], [0.5, 0.0]], requires_grad=True)
    assert sizes(values).tolist() == [7.0, 0.5]
    assert lengths(values).tolist() == [5.0, 0.5]
    assert not lengths(values).requires_grad


def test_what_is_remembered_belongs_to_its_tensor():
    memo, first = Memo(), torch.zeros(2)
    assert memo.crops(first, "a", lambda: first + 1).tolist() == [1, 1]
    assert memo.crops(first, "a", lambda: first + 2).tolist() == [1, 1]
    assert memo.crops(first, "b", lambda: first + 2).tolist() == [2, 2]
    assert memo.crops(first.clone(), "a", lambda: first + 3).tolist() == [3, 3]


def test_matrices_may_be_shared_and_ones_are_made_once():
    store: dict = {}
    weight = torch.ones(2)
    assert Memo(store).matrix(weight, (1,), lambda: weight + 1).tolist() == [2, 2]
    assert Memo(store).matrix(weight, (1,), lambda: weight + 2).tolist() == [2, 2]
    memo = Memo()
    assert memo.ones(weight, (3,)) is memo.ones(weight, (3,))
