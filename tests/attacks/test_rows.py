"""Runs are supplied once each, in order, in blocks of one shape."""

import torch

from holdfast.attacks.rows import Rows, Supply
from holdfast.core.random import Keys
from holdfast.threats import Linf


def prepared(shapes):
    def prepare(example, run):
        shapes.append(len(example))
        x = example[:, None].float()
        keys = Keys.of(0, example)
        zero = torch.zeros_like(run)
        return Rows(example, run, zero, zero, keys, x, x, example, None, Linf(0.1))

    return prepare


def everything(example, run):
    return torch.ones_like(run, dtype=torch.bool)


def drain(supply, count):
    seen = []
    while (taken := supply.take(count)) is not None:
        rows, picks = taken
        assert 0 < len(picks) <= count
        seen += list(zip(rows.example[picks].tolist(), rows.run[picks].tolist(), strict=True))
    return seen


def test_every_run_is_supplied_once_in_rounds_within_windows():
    shapes = []
    supply = Supply(prepared(shapes), everything, torch.tensor([2, 4, 5, 9, 11]), 3, 4, window=3)
    seen = drain(supply, 3)
    first = [(e, r) for r in range(3) for e in (2, 4, 5)]
    second = [(e, r) for r in range(3) for e in (9, 11)]
    assert seen == first + second
    assert set(shapes) == {4}


def test_runs_no_longer_wanted_are_skipped_even_when_prepared():
    decided = set()

    def wanted(example, run):
        return torch.tensor([e not in decided for e in example.tolist()], dtype=torch.bool)

    supply = Supply(prepared([]), wanted, torch.arange(4), 2, 4, window=10)
    rows, picks = supply.take(2)
    assert rows.example[picks].tolist() == [0, 1]
    decided |= {2, 0}
    assert drain(supply, 4) == [(3, 0), (1, 1), (3, 1)]


def test_runs_given_back_come_again():
    supply = Supply(prepared([]), everything, torch.arange(3), 1, 2, window=10)
    drain(supply, 2)
    supply.give_back(torch.tensor([1]), torch.tensor([0]))
    assert drain(supply, 2) == [(1, 0)]


def test_put_moves_every_column_and_leaves_the_source_alone():
    a = prepared([])(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 0]))
    b = prepared([])(torch.tensor([7, 8, 9]), torch.tensor([5, 5, 5]))
    b.memory["v"] = torch.tensor([[70.0], [80.0], [90.0]])
    a = a.clone()
    a.memory["v"] = torch.zeros(3, 1)
    a.put(torch.tensor([2, 0]), b, torch.tensor([1, 2]))
    assert a.example.tolist() == [9, 1, 8]
    assert a.run.tolist() == [5, 0, 5]
    assert a.memory["v"].flatten().tolist() == [90.0, 0.0, 80.0]
    assert torch.equal(a.keys.state[[2, 0]], b.keys.state[[1, 2]])
    assert b.example.tolist() == [7, 8, 9]
