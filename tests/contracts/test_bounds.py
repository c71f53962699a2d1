"""What every bound of the catalogue promises, whatever its method."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from holdfast.certify import BOUNDS, ESTIMATES, capture, certified, margin_rows
from holdfast.core.errors import InputError
from holdfast.threats import Linf
from nets import examples, small_net

THREAT = Linf(0.01)
ALONE = 1e-4  # float32 work of a proof may differ so much with the neighbours
each_bound = pytest.mark.parametrize("name", BOUNDS)
each = pytest.mark.parametrize(
    "entry", [*BOUNDS.values(), *ESTIMATES.values()], ids=lambda entry: entry.name
)


def bound(name, net, x, y, threat=THREAT):
    return BOUNDS[name].load()().bound(net, x, threat, margin_rows(y, 5))


@pytest.fixture(scope="module")
def problem():
    net = small_net(3)
    return capture(net, (2, 7, 6)), *examples(5, net, seed=8)


@each
def test_it_is_a_frozen_record_whose_entry_says_what_it_is(entry):
    method = entry.load()()
    assert method == entry.load()()
    assert hash(method) == hash(entry.load()())
    with pytest.raises(FrozenInstanceError):
        method.mode = "other"
    assert all((entry.summary, entry.source, entry.guarantee, entry.cost))


@each_bound
def test_at_radius_zero_it_is_the_margin_or_below(name, problem):
    graph, x, y = problem
    with torch.no_grad():
        logits = graph.forward(x.double())
    margins = torch.einsum("brk,bk->br", margin_rows(y, 5).double(), logits)
    lower = bound(name, graph, x, y, Linf(0.0)).lower
    assert (lower <= margins).all()
    assert (lower > margins - 1e-3).all()


@each_bound
def test_corners_of_the_threat_stay_above(name, problem):
    graph, x, y = problem
    lower = bound(name, graph, x, y).lower
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        moved = x + 0.01 * (2 * torch.rand(x.shape, generator=generator) - 1).sign()
        with torch.no_grad():
            logits = graph.forward(moved.clamp(0, 1).double())
        margins = torch.einsum("brk,bk->br", margin_rows(y, 5).double(), logits)
        assert (lower <= margins + 1e-12).all()


@each_bound
def test_an_example_does_not_depend_on_its_neighbours(name, problem):
    graph, x, y = problem
    together, alone = bound(name, graph, x, y), bound(name, graph, x[3:4], y[3:4])
    torch.testing.assert_close(together.lower[3:4], alone.lower, atol=ALONE, rtol=0)
    assert certified(together)[3] == certified(alone)[0]


@each_bound
def test_a_network_with_a_broken_weight_certifies_nothing(name):
    net = small_net(3)
    x, y = examples(2, net)
    with torch.no_grad():
        next(each for each in net.modules() if isinstance(each, nn.Linear)).weight[0, 0] = torch.nan
    assert not certified(bound(name, net, x, torch.zeros_like(y))).any()


@each_bound
def test_a_specification_of_the_wrong_width_is_named(name, problem):
    graph, x, _ = problem
    with pytest.raises(InputError, match="spec"):
        BOUNDS[name].load()().bound(graph, x, THREAT, torch.eye(4))
