import pytest
import torch

from certify.nets import graph, inputs
from certify.substitution.test_backward import NETS, known_of
from holdfast.certify.substitution.backward import ends, lower
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.walk import Substitution, box_ends, double
from holdfast.threats import Linf


@pytest.mark.parametrize("name", [*NETS, "conv", "pooled", "functional"])
def test_rows_and_negated_rows_in_one_walk(name):
    captured = NETS[name]()[0] if name in NETS else graph(name)
    x = inputs(3, captured.input_shape)
    known = known_of(captured, x, Linf(0.03), plain=True)
    image = torch.tensor([0, 1, 1, 2])
    for relaxed in (known.adaptive, known.centred.adapt()):
        for node in captured.nodes[1:]:
            size = torch.Size(node.shape).numel()
            rows = relaxed.units(torch.arange(4) % size, node.place)
            with torch.no_grad():
                least, most, slack = ends(relaxed, rows, image, node.place, parallel=False)
                first = lower(relaxed, rows, image, node.place)
                second = -lower(relaxed, rows.negated(), image, node.place)
            torch.testing.assert_close(least, first, atol=1e-9, rtol=0)
            torch.testing.assert_close(most, second, atol=1e-9, rtol=0)
            assert (slack > 0).all()


def test_rounding_is_counted_where_it_is_asked_for():
    captured, shape = NETS["residual"]()
    known = known_of(captured, inputs(3, shape), Linf(0.03))
    rows, image, place = Dense(inputs(3, (5,)) - 0.5), torch.arange(3), len(captured.nodes) - 1
    for relaxed, least, most in ((known.adaptive, 0.0, 1e-8), (known.centred.adapt(), 1e-9, 1e-1)):
        walk = Substitution(relaxed, image, parallel=False)
        with torch.no_grad():
            walk.run(Dense(rows.values.to(relaxed.boxes[0].lower)), place)
        assert (walk.slack > least).all()
        assert (walk.slack < most).all()
    fast = known_of(captured, inputs(3, shape), Linf(0.03), rigorous=False)
    walk = Substitution(fast.adaptive, image, parallel=False)
    with torch.no_grad():
        walk.run(rows, place)
    assert walk.slack == 0.0


def test_numbers_of_rows_and_of_negated_rows():
    assert double(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0, 1.0, 2.0]
    assert double(torch.tensor(3.0)).item() == 3.0


def test_ends_of_a_box():
    rows, image = Dense(torch.tensor([[1.0, -2.0], [0.5, 0.0]])), torch.tensor([0, 1])
    center, spread = torch.tensor([[1.0, 1.0], [2.0, 9.0]]), torch.tensor([[0.5, 0.25], [1.0, 1.0]])
    least, most = box_ends(rows, image, center, spread)
    assert least.tolist() == [-2.0, 0.5]
    assert most.tolist() == [0.0, 1.5]
