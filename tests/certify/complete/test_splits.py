from dataclasses import replace

import torch

from certify.nets import graph, inputs
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.splits import roots
from holdfast.threats import Linf


def start():
    program = condensed(graph("conv"), inputs(1), Linf(0.08))
    queries = torch.tensor([[True, False], [True, True], [True, False]])
    return program, roots(program, queries)


def test_roots_are_the_whole_set_with_adaptive_slopes():
    program, splits = start()
    assert len(splits) == 3
    assert not splits.signs.any()
    slopes = torch.cat([block.lines.lower_slope for block in program.blocks])
    assert torch.equal(splits.multipliers, slopes.expand(3, -1))
    assert torch.equal(splits.shares[1], torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert (splits.lower == -torch.inf).all()


def test_children_cut_one_unit_each_way():
    _, splits = start()
    splits = replace(splits, unit=torch.tensor([2, 0, 5]), lower=torch.tensor([1.0, 2.0, 3.0]))
    halves = splits.children()
    assert len(halves) == 6
    for i, unit in enumerate([2, 0, 5]):
        assert halves.signs[i, unit] == 1
        assert halves.signs[i + 3, unit] == -1
        assert halves.multipliers[i, unit] == halves.multipliers[i + 3, unit] == 0
    assert (halves.signs != 0).sum() == 6
    assert torch.equal(halves.lower, splits.lower.repeat(2))
    assert not splits.signs.any()


def test_selections_join_again():
    _, splits = start()
    again = splits[:1].joined(splits[torch.tensor([1, 2])])
    assert torch.equal(again.query, splits.query)
    assert torch.equal(again.shares, splits.shares)
