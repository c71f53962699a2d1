from dataclasses import replace

import pytest
import torch

from certify.nets import graph, inputs, samples
from holdfast.certify.bounds.linear import CROWN
from holdfast.certify.complete.beta import tables
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.pulling import Table, pull, push
from holdfast.certify.complete.splits import roots
from holdfast.threats import L2, Linf


def pulled(threat, name="conv", image=0):
    program = condensed(graph(name), inputs(image + 1)[image:], threat)
    splits = roots(program, torch.ones(5, 1, dtype=torch.bool))
    lines, forms = tables(program, splits), program.outputs
    return program, lines, pull(program, forms.rows.clone(), forms.offset, forms.error, lines)


@pytest.mark.parametrize("name", ["conv", "residual"])
@pytest.mark.parametrize("threat", [Linf(0.08), L2(0.3)])
def test_adaptive_lines_give_the_bound_of_crown(name, threat):
    _, _, found = pulled(threat, name)
    crown = CROWN().bound(graph(name), inputs(1), threat, torch.eye(5)).lower[0]
    open_ = crown <= 0  # the others may keep the bound of intervals
    assert open_.any()
    torch.testing.assert_close(found.lower[open_], crown[open_], atol=2e-6, rtol=0)


def test_the_push_attains_the_bound():
    program, lines, found = pulled(Linf(0.08))
    x = program.corner(found.columns[:, : program.inputs])
    values, _ = push(program, found, lines, x)
    forms = program.outputs
    rows = (forms.rows * values).sum(1) + forms.offset
    torch.testing.assert_close(rows, found.lower, atol=1e-8, rtol=0)
    assert (found.lower < rows).all()  # by what rounding may have moved


def test_signs_with_multipliers_bound_the_part_where_they_hold():
    program, _, _ = pulled(Linf(0.08))
    x = inputs(1)
    points = samples(*(end[0] for end in Linf(0.08).hull(x)), 400)
    values, reads = points.flatten(1), []
    for block in program.blocks:
        reads.append(block.reads.of(values))
        values = torch.cat((values, block.op.forward([reads[-1]], None)), dim=1)
    outputs, reads = program.outputs.of(values), torch.cat(reads, dim=1)
    generator = torch.Generator().manual_seed(1)
    splits = roots(program, torch.ones(5, 1, dtype=torch.bool))
    some = torch.rand(splits.signs.shape, generator=generator) < 0.4
    signs = (reads[:5].sign() * (some & program.splittable())).to(torch.int8)  # five inputs' own
    for scale in (0.1, 1.0, 10.0):
        multipliers = scale * torch.rand(signs.shape, generator=generator, dtype=torch.float64)
        multipliers = torch.where(signs == 0, multipliers.clamp_max(1.0), multipliers)
        cut = replace(splits, signs=signs, multipliers=multipliers)
        lines, forms = tables(program, cut), program.outputs
        lower = pull(program, forms.rows.clone(), forms.offset, forms.error, lines).lower
        for row in range(5):
            inside = (signs[row] * reads >= 0).all(1)
            assert inside[row]
            assert (outputs[inside, row] >= lower[row]).all()


def test_a_table_selects_rows():
    generator = torch.Generator().manual_seed(1)
    low, high, above = (torch.rand(4, 3, generator=generator) for _ in range(3))
    for below in (None, -above):
        chosen = Table(low, high, below, above).selected(torch.tensor([2, 2, 0]))
        assert torch.equal(chosen.high, high[[2, 2, 0]])
        assert (chosen.below is None) == (below is None)


def test_an_error_of_the_forms_lowers_the_bound():
    program, lines, found = pulled(Linf(0.08))
    block = program.blocks[0]
    worse = replace(block, reads=replace(block.reads, error=block.reads.error + 0.01))
    wider = replace(program, blocks=(worse, *program.blocks[1:]))
    forms = program.outputs
    again = pull(wider, forms.rows.clone(), forms.offset, forms.error, lines)
    assert (again.lower < found.lower - 1e-4).all()
