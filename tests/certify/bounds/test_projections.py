import pytest
import torch

from certify.nets import Hull, graph, inputs
from holdfast.certify.bounds.estimators import median, root_mean_square
from holdfast.certify.bounds.forward import Coordinates
from holdfast.certify.bounds.projections import Projections
from holdfast.certify.substitution.pushing import Push
from holdfast.certify.substitution.regions import around
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf


class Cube(Hull):
    boxed = True


def walks(name, threat, columns, *, count=2, seed=0):
    """A walk with projections, and the exact one on the same boxes."""
    captured, x = graph(name), inputs(count)
    region = around(threat, x, rigorous=False)
    values = captured.constants.bind(x.dtype, x.device)
    keys = Keys.of(seed, range(count))
    projections = Projections(region, keys, columns, median, root_mean_square)
    exact = Push(captured, values, Coordinates(region, True, False), "symbols", plain=True).run()
    known = {place: exact.boxes[place] for place in exact.read}
    found = Push(captured, values, projections, "symbols", known=known)
    found.last = exact.last = dict.fromkeys(range(len(captured.nodes)), -1)
    again = Push(captured, values, exact.variables, "symbols", known=known)
    again.last = found.last
    return found.run(), again.run()


@pytest.mark.parametrize("threat", [Cube(0.02), L2(0.1, box=None)], ids=["linf", "l2"])
@pytest.mark.parametrize("name", ["conv", "residual"])
def test_few_variables_are_kept_exactly(name, threat):
    """With more columns than variables nothing is random."""
    found, exact = walks(name, threat, 200)
    for place in exact.read | {len(exact.graph.nodes) - 1}:
        first, second = (walk.variables.ends(walk.forms[place]) for walk in (found, exact))
        tolerance = 1e-12 if isinstance(threat, Cube) else 1e-4  # membership's counts twice for l2
        torch.testing.assert_close(first.lower, second.lower, atol=tolerance, rtol=0)
        torch.testing.assert_close(first.upper, second.upper, atol=tolerance, rtol=0)


@pytest.mark.parametrize("threat", [Cube(0.02), L2(0.1, box=None)], ids=["linf", "l2"])
def test_estimates_tend_to_the_exact_ends(threat):
    """The median of the relative errors of the widths shrinks as 1 / sqrt(r)."""
    errors = []
    for columns in (5, 21, 81):
        found, exact = walks("residual", threat, columns)
        place = max(exact.read)
        first, second = (walk.variables.ends(walk.forms[place]) for walk in (found, exact))
        error = (first.upper - first.lower) / (second.upper - second.lower) - 1
        middle = (first.upper + first.lower) / 2
        torch.testing.assert_close(middle, (second.upper + second.lower) / 2, atol=1e-9, rtol=0)
        errors.append(error.abs().median().item())
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2] > 0


def test_the_number_of_columns_is_that_of_the_blocks():
    """Whatever the input and the numbers of open units are."""
    for eps in (0.001, 0.05):
        found, exact = walks("residual", Cube(eps), 7)
        blocks = 1 + sum(type(node.op).__name__ == "ReLU" for node in found.graph.nodes)
        assert found.columns == 7 * blocks
    assert exact.columns > found.columns


def test_an_image_keeps_its_numbers_among_others():
    found, _ = walks("residual", Cube(0.05), 6, count=4)
    captured, x = graph("residual"), inputs(4)[2:3]
    region = around(Cube(0.05), x, rigorous=False)
    keys = Keys.of(0, [2])
    alone = Push(
        captured,
        captured.constants.bind(x.dtype, x.device),
        Projections(region, keys, 6, median, root_mean_square),
        "symbols",
        known={place: type(box)(*(end[2:3] for end in box)) for place, box in found.known.items()},
    ).run()
    last = len(captured.nodes) - 1
    first, second = found.variables.ends(found.forms[last]), alone.variables.ends(alone.forms[last])
    torch.testing.assert_close(first.lower[2:3], second.lower, atol=1e-12, rtol=0)


def test_keys_make_the_numbers():
    ends = [
        found.variables.ends(found.forms[max(found.read)]).lower
        for found, _ in (walks("residual", Cube(0.05), 6, seed=seed) for seed in (0, 0, 1))
    ]
    assert torch.equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def test_other_threats_are_refused():
    x = inputs(1)
    region = around(L1(0.1), x, rigorous=False)
    variables = Projections(region, Keys.of(0, [0]), 5, median, root_mean_square)
    with pytest.raises(UnsupportedThreat, match="L1"):
        variables.start()
    region = around(Linf(0.1), x, rigorous=False)
    form = Projections(region, Keys.of(0, [0]), 5, median, root_mean_square).start()
    assert form.lower.shape == (1, 5, 2, 7, 6)
