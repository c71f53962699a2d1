from dataclasses import replace

import pytest
import torch

from certify.complete.test_branch_and_bound import Cube, chain
from certify.enumeration import minimum
from certify.nets import inputs
from holdfast.certify.complete.beta import Dual
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.leaves import solve
from holdfast.certify.complete.splits import roots
from holdfast.certify.graphs.graph import capture


def start(seed=0, queries=((0,), (1,))):
    net, x = capture(chain(seed), (3,)), inputs(1, (3,))
    program = condensed(net, x, Cube(0.7))
    which = Dual(program, program.fast(torch.float64), torch.tensor(queries))
    return net, x, which, roots(program, which.queries >= 0)


def test_the_root_is_the_best_of_all_slopes():
    _, _, which, splits = start()
    climbed = which.bound(which.ascend(splits, 400, 0.1, 0.99, torch.inf))[0].lower
    for query in range(2):
        leaf = solve(which.program, which.queries[query], splits[query : query + 1], 0.0)
        best = which.bound(leaf.splits)[0].lower
        assert best[0] >= climbed[query] - 1e-7
        assert best[0] <= climbed[query] + 5e-3


@pytest.mark.parametrize("queries", [((0,), (1,)), ((0, 1),)])
@pytest.mark.slow
def test_patterns_that_are_not_empty_and_empty_ones_make_up_the_minimum(queries):
    net, x, which, splits = start(1, queries)
    units = which.program.units
    lows = []
    for pattern in torch.cartesian_prod(*[torch.tensor([-1, 1])] * units)[:: 2 ** (units - 6)]:
        cut = replace(splits, signs=pattern.to(torch.int8).expand(len(queries), -1).clone())
        cut = replace(cut, multipliers=torch.zeros_like(cut.multipliers))
        leaf = solve(which.program, which.queries[0], cut[:1], 0.0)
        lower = float(which.bound(leaf.splits)[0].lower)
        lows.append(lower)
        if leaf.x is not None:  # the input has this pattern, and the value is attained
            value = net.forward(leaf.x.unsqueeze(0))[0, list(queries[0])].max()
            assert lower == pytest.approx(float(value.detach()), abs=1e-6)
        else:
            assert lower > 0.0
    assert min(lows) >= minimum(net, x - 0.7, x + 0.7, rows=queries[0]) - 1e-6


@pytest.mark.slow
def test_an_empty_part_is_proved_empty_above_any_target():
    _, _, which, splits = start(1)
    units = which.program.units
    found = 0
    for pattern in torch.cartesian_prod(*[torch.tensor([-1, 1])] * units)[: 2**6]:
        cut = replace(splits[:1], signs=pattern.to(torch.int8).unsqueeze(0))
        leaf = solve(which.program, which.queries[0], cut, 100.0)
        if leaf.x is None:
            found += 1
            assert float(which.bound(leaf.splits)[0].lower) > 100.0
    assert found
