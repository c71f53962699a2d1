from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.nets import graph, inputs
from holdfast.certify import capture
from holdfast.certify.complete.beta import Dual, tables
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.pulling import push
from holdfast.certify.complete.splits import roots
from holdfast.threats import L2, Linf


def dual(threat=None, queries=None, dtype=torch.float64):
    program = condensed(graph("conv"), inputs(1), threat or Linf(0.08))
    queries = torch.arange(5).unsqueeze(1) if queries is None else queries
    return Dual(program, program.fast(dtype), queries)


def cut(which, seed=1):
    """Subdomains with random signs and multipliers."""
    splits = roots(which.program, which.queries >= 0)
    generator = torch.Generator().manual_seed(seed)
    shape = splits.signs.shape
    signs = torch.randint(-1, 2, shape, generator=generator).to(torch.int8)
    multipliers = 0.2 + 0.6 * torch.rand(shape, generator=generator, dtype=torch.float64)
    return replace(splits, signs=signs, multipliers=multipliers)


@pytest.mark.parametrize("threat", [Linf(0.08), L2(0.3)])
def test_the_gradient_is_that_of_finite_differences(threat):
    from holdfast.certify.complete.beta import _Climb

    which = dual(threat)
    splits = cut(which)
    climb = _Climb(which, splits)
    pulled, lines = which.bound(splits, fast=True)
    x = which.fast.corner(pulled.columns[:, : which.fast.inputs])
    gradient = climb._gradient(pulled, push(which.fast, pulled, lines, x)[1])
    step = 1e-7
    for unit in range(0, splits.signs.shape[1], 5):
        moved = splits.multipliers.clone()
        moved[:, unit] += step
        above, _ = which.bound(replace(splits, multipliers=moved), fast=True)
        slope = (above.lower - pulled.lower) / step
        torch.testing.assert_close(slope, gradient[:, unit], atol=1e-4, rtol=1e-3)


def test_an_ascent_never_ends_below_its_start_and_gains():
    which = dual()
    for splits in (roots(which.program, which.queries >= 0), cut(which)):
        before = which.bound(splits)[0].lower
        after = which.bound(which.ascend(splits, 12, 0.3, 0.95, torch.inf))[0].lower
        assert (after >= before - 1e-9).all()
        assert (after > before + 1e-3).any()


def test_it_stops_at_the_target():
    which = dual()
    splits = roots(which.program, which.queries >= 0)
    found = which.ascend(splits, 12, 0.3, 0.95, -1e9)
    assert torch.equal(found.multipliers, splits.multipliers)


def test_float32_climbs_and_float64_counts():
    which = dual(dtype=torch.float32)
    splits = roots(which.program, which.queries >= 0)
    found = which.ascend(replace(splits, multipliers=splits.multipliers.float()), 9, 0.3, 0.95, 9.0)
    rough, exact = which.bound(found, fast=True)[0].lower, which.bound(found)[0].lower
    assert exact.dtype == torch.float64
    torch.testing.assert_close(rough.double(), exact, atol=1e-3, rtol=1e-4)


def test_shares_move_to_the_rows_that_are_largest():
    which = dual(queries=torch.tensor([[0, 1, 2], [3, 4, -1]]))
    splits = roots(which.program, which.queries >= 0)
    before = which.bound(splits)[0].lower
    found = which.ascend(splits, 30, 0.3, 0.95, torch.inf)
    assert (which.bound(found)[0].lower > before).all()
    torch.testing.assert_close(found.shares.sum(1), torch.ones(2, dtype=torch.float64))
    assert found.shares[1, 2] == 0
    single = dual()
    rows = single.bound(
        single.ascend(roots(single.program, single.queries >= 0), 30, 0.3, 0.95, 9.0)
    )
    best = rows[0].lower
    assert which.bound(found)[0].lower[0] >= best[:3].max() - 0.3 * best[:3].abs().max()


def test_a_subdomain_does_not_depend_on_its_neighbours():
    which = dual()
    splits = cut(which)
    together = which.ascend(splits, 6, 0.3, 0.95, torch.inf).multipliers
    alone = which.ascend(splits[2:3], 6, 0.3, 0.95, torch.inf).multipliers
    torch.testing.assert_close(together[2:3], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("slope", [0.1, 0.03])
def test_lines_have_all_bits_of_a_slope(slope):
    """0.1 is smaller than in float32, in which ascents are made, and 0.03 is larger."""
    model = nn.Sequential(nn.Linear(2, 5), nn.LeakyReLU(slope), nn.Linear(5, 1)).double()
    with torch.no_grad():
        model[0].bias.zero_()
    program = condensed(capture(model, (2,)), torch.zeros(1, 2).double(), Linf(1.0, box=None))
    single = roots(program, torch.ones(1, 1, dtype=torch.bool))
    for sign, least in ((-1, slope), (1, 1.0), (0, slope)):
        low = torch.full((1, 5), slope, dtype=torch.float32)
        splits = replace(single, signs=torch.full_like(single.signs, sign), multipliers=low)
        (table,) = tables(program, splits)
        assert (table.low >= least).all()
        assert (table.low <= least + 1e-8 * (sign == 0)).all()
        assert sign == 0 or torch.equal(table.low, table.high)
