"""The fast protocol: who is sent where, and that it finds what long protocols find."""

import pytest
import torch
from torch import nn

from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.fast import Fast
from holdfast.benchmark.protocol import Board
from holdfast.core.errors import InputError
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.data.adapt import as_data
from holdfast.models import InputQuantised
from holdfast.threats import L0, L1, L2, Gaussian, Linf, Spatial
from nets import examples, small_net


def walk(breaks, count=400, threat=None, audit=0.01):
    """The steps of the protocol, on a board where `breaks` says how many of a step fall."""
    ledger = Ledger(torch.arange(count), torch.zeros(count))
    ledger.margin[:] = torch.arange(count).float()
    board = Board(ledger, threat or Linf(0.1), 10, {}, {})
    seen = {}
    for step in Fast(audit=audit).steps(board):
        at = board.standing() if step.at is None else step.at
        at = at[ledger.outcome[at] == Outcome.UNDECIDED]
        seen[step.name] = at.tolist()
        ledger.outcome[at[: breaks(step.name, len(at))]] = int(Outcome.BROKEN)
    return seen, board


def test_where_gradients_lead_the_closest_are_attacked_once_more():
    seen, board = walk(lambda name, n: 200 if name == "race-margin" else 0)
    assert list(seen)[:6] == [
        "race-margin",
        "race-ce",
        "targets",
        "pilot",
        "pilot-polish",
        "stand",
    ]
    assert [name for name in seen if name.startswith("audit")] == [
        "audit-apgd-ce",
        "audit-apgd-t",
        "audit-fab-t",
        "audit-square",
    ]
    assert seen["targets"] == list(range(200, 216))  # an eighth of 200, in whole blocks of 16
    assert len(seen["pilot"]) == 32
    assert board.notes["pilot"] == {"tried": 32, "fell": 0}
    assert len(seen["audit-square"]) == 4
    assert board.notes["audit"]["discarded"] == 200
    assert 0.5 < board.notes["audit"]["bound"] < 0.7


def test_where_the_pilot_breaks_some_the_search_widens_while_it_pays():
    falls = {"pilot-polish": 9, "search-1-polish": 20, "scout-2": 30}
    seen, board = walk(lambda name, n: falls.get(name, 0), audit=0)
    names = [name for name in seen if "polish" not in name]
    assert names == [
        "race-margin",
        "race-ce",
        "targets",
        "pilot",
        "search-1",
        "scout-2",
        "search-2",
        "scout-3",
        "deep",
    ]
    assert not set(seen["scout-2"]) & set(seen["search-1"])
    assert not set(seen["scout-3"]) & set(seen["scout-2"])
    assert "audit" not in board.notes


def test_the_audit_is_drawn_by_the_examples_own_lots():
    one, _ = walk(lambda name, n: 0)
    two, _ = walk(lambda name, n: 0, count=399)
    assert len(set(one["audit-fab-t"]) & set(two["audit-fab-t"])) >= 3


@pytest.mark.parametrize(
    "threat",
    [
        Linf(0.03),
        pytest.param(L2(0.3), marks=pytest.mark.slow),
        pytest.param(L1(2.0), marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_it_finds_what_the_standard_protocol_finds(threat):
    net = small_net()
    x, y = examples(24, net, wrong=2)
    data = as_data((x, y))
    fast = evaluate(net, data, threat, protocol=Fast(audit=0), bounds=(), block=8)
    long = evaluate(net, data, threat, attacks="apgd-ce,apgd-t", bounds=(), block=8)
    assert fast.robust_accuracy <= long.robust_accuracy
    assert 0 < fast.robust_accuracy < 22 / 24
    assert fast.flags == []
    assert fast.result["protocol"]["version"] == "fast/1"


@pytest.mark.slow
def test_hidden_gradients_are_searched_without():
    net = InputQuantised(small_net(), levels=3)
    x, y = examples(24, net)
    found = evaluate(net, as_data((x, y)), Linf(0.12), protocol=Fast(audit=0), bounds=(), block=8)
    assert found.robust_accuracy < 0.5
    codes = [flag["code"] for flag in found.flags]
    assert {"zero-gradients", "masked-gradients"} <= set(codes)


def test_threats_without_a_gradient_step_are_tried_out():
    net = nn.Sequential(small_net(shape=(1, 7, 6)))
    x, y = examples(5, net, shape=(1, 7, 6))
    data = as_data((x, y))
    for threat, names in (
        (Spatial(rotation=30, translation=2), ["spatial-random", "spatial-grid"]),
        (Gaussian(0.3), ["noise"]),
        (L0(3), ["race-margin", "race-ce", "targets"]),
    ):
        found = evaluate(net, data, threat, bounds=(), block=8)
        assert [row["name"] for row in found.result["attacks"]] == names


def test_a_radius_is_needed():
    net = small_net()
    data = as_data(examples(3, net))
    with pytest.raises(InputError, match="no radius"):
        evaluate(net, data, L2(float("inf")), bounds=(), block=4)
