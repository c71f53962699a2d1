from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.complete.test_branch_and_bound import Cube, random
from certify.nets import graph, inputs
from holdfast.certify.complete.beta import Dual
from holdfast.certify.complete.branch_and_bound import condensed
from holdfast.certify.complete.branching import Seen, by_score, by_trial, look
from holdfast.certify.complete.splits import roots
from holdfast.certify.graphs.graph import capture
from holdfast.threats import Linf


def start():
    program = condensed(graph("conv"), inputs(1), Linf(0.08))
    which = Dual(program, program.fast(torch.float64), torch.arange(5).unsqueeze(1))
    splits = which.ascend(roots(program, which.queries >= 0), 20, 0.3, 0.95, torch.inf)
    pulled, lines = which.bound(splits)
    return which, replace(splits, lower=pulled.lower), look(program, splits, pulled, lines)


def test_gaps_of_one_hidden_layer_are_what_the_bound_loses_at_its_minimiser():
    net, x = random(nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 2)), 4), inputs(1, (3,))
    program = condensed(capture(net, (3,)), x, Cube(0.6))
    which = Dual(program, program.fast(torch.float64), torch.arange(2).unsqueeze(1))
    splits = roots(program, which.queries >= 0)
    pulled, lines = which.bound(splits)
    seen = look(program, splits, pulled, lines)
    truth = net(seen.x).diagonal().detach()
    torch.testing.assert_close(seen.gap.sum(1), truth - pulled.lower, atol=1e-9, rtol=0)
    assert (seen.gap > 0).any()


def test_split_units_have_no_score():
    which, splits, _ = start()
    signs = splits.signs.clone()
    signs[:, ::2] = 1
    cut = replace(splits, signs=signs)
    seen = look(which.program, cut, *which.bound(cut))
    free = which.program.splittable()
    free[::2] = False
    assert (seen.gap[:, ~free] == -1).all()
    assert (seen.gap[:, free] >= 0).all()
    assert (by_score(seen) % 2 == 1).all()
    everything = replace(splits, signs=torch.ones_like(signs))
    seen = look(which.program, everything, *which.bound(everything))
    assert (by_score(seen) == -1).all()
    assert (by_trial(which, everything, seen, 3) == -1).all()


def test_a_network_without_units_has_nowhere_to_branch():
    empty = torch.zeros(3, 0)
    assert (by_score(Seen(torch.zeros(3, 2), empty, empty)) == -1).all()


@pytest.mark.parametrize("seed", range(4))
def test_the_tried_unit_is_the_best_of_the_candidates(seed):
    net = random(nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 5)), seed)
    program = condensed(capture(net, (3,)), inputs(1, (3,)), Cube(0.6))
    which = Dual(program, program.fast(torch.float64), torch.arange(5).unsqueeze(1))
    splits = roots(program, which.queries >= 0)
    seen = look(program, splits, *which.bound(splits))

    def value(unit):
        lower = which.bound(replace(splits, unit=unit).children(), fast=True)[0].lower.view(2, -1)
        return lower.amin(0) + 1e-3 * lower.amax(0)

    tried = []
    for score in (seen.gap, seen.intercept):
        top = score.topk(4, dim=1)
        for i in range(4):
            real = top.values[:, i] > 0
            tried.append(value(top.indices[:, i]).where(real, -torch.inf))
    chosen = by_trial(which, splits, seen, 4)
    torch.testing.assert_close(value(chosen), torch.stack(tried).amax(0), atol=1e-9, rtol=0)
