"""The board and lists: who stands, who is closest, who fell."""

import torch

from holdfast.attacks import FGSM
from holdfast.benchmark.protocol import Board, Listed, Protocol, blank
from holdfast.core.ledger import Ledger
from holdfast.core.results import Outcome
from holdfast.threats import Linf


def board(margins, outcomes):
    ledger = Ledger(torch.arange(10, 10 + len(margins)), torch.zeros(len(margins)))
    ledger.margin[:] = torch.tensor(margins)
    ledger.outcome[:] = torch.tensor([int(o) for o in outcomes])
    return Board(ledger, Linf(0.1), 3, {}, {})


def test_closest_are_standing_by_margin_then_place():
    stands, lost = Outcome.UNDECIDED, Outcome.BROKEN
    table = board([0.5, 0.1, 0.3, 0.1, 0.9, 0.2], [stands, lost, stands, stands, stands, stands])
    assert table.standing().tolist() == [0, 2, 3, 4, 5]
    assert table.closest(2).tolist() == [3, 5]
    assert table.closest(2, beside=torch.tensor([3])).tolist() == [2, 5]
    assert table.closest(99).tolist() == [0, 2, 3, 4, 5]
    assert table.fell(torch.tensor([0, 1])) == 1


def test_a_list_is_a_protocol_without_a_name():
    attack = FGSM()
    listed = Listed((("mine", attack),))
    assert isinstance(listed, Protocol)
    assert (listed.name, listed.version, listed.adaptive) == ("", "", False)
    (step,) = listed.steps(board([1.0], [Outcome.UNDECIDED]))
    assert (step.name, step.attack, step.at, step.start) == ("mine", attack, None, None)


def test_blank_points_are_not_numbers():
    points = blank(torch.zeros(1, 2, 3), 4)
    assert points.shape == (4, 2, 3)
    assert bool(points.isnan().all())
