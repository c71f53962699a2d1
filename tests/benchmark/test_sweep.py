"""Curves over radii from witnesses and certificates: each piece of evidence counts."""

import math

import pytest
import torch

from holdfast.benchmark.sweep import Sweep
from holdfast.core.ledger import Contradiction, Ledger
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.adapt import as_data
from holdfast.threats import Linf


def sweep():
    """Five examples: misclassified, broken at size 0.05, certified at 0.1, undecided twice."""
    data = as_data((torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 2])))
    ledger = Ledger(data.index, data.labels)
    every = torch.arange(5)
    ledger.take_clean(every, every, torch.ones(5), torch.tensor([-1.0, 1.0, 1.0, 1.0, 1.0]))
    ledger.take_bound(torch.tensor([2]), torch.tensor([0.3]), "interval")
    at = torch.tensor([1, 3, 4])
    ledger.take_attack(at, result([True, False, False], [0.05, 0.1, 0.1]), "pgd")
    return Sweep(ledger, Linf(0.1), data), ledger


def result(success, size):
    n = len(size)
    zero = torch.zeros(n, dtype=torch.int64)
    margin = torch.where(torch.tensor(success), -1.0, 0.5)
    return AttackResult(
        torch.rand(n, 1, 2, 2),
        torch.tensor(success),
        margin,
        torch.tensor(size),
        margin,
        zero + 3,
        zero + 2,
        zero,
    )


def rows(success, size):
    found = result(success, size)
    return {
        k: getattr(found, k)
        for k in (
            "success",
            "size",
            "x_adv",
            "margin",
            "loss",
            "outcome",
            "forwards",
            "backwards",
        )
    }


def test_evidence_counts_at_every_radius_it_covers():
    found, _ = sweep()
    assert found.counts(0.0) == (4, 4)
    assert found.counts(0.02) == (4, 1)
    assert found.counts(0.05) == (3, 1)
    assert found.counts(0.1) == (3, 1)
    assert found.counts(0.2) == (3, 0)
    assert found.stands(0.2).tolist() == [False, False, True, True, True]
    assert found.stands(0.04).tolist() == [False, True, False, True, True]


def test_a_smaller_witness_replaces_a_larger_and_passes_are_added():
    found, ledger = sweep()
    before = int(ledger.forwards.sum())
    found.take_attack(torch.tensor([1, 3]), rows([True, True], [0.02, 0.08]), "pgd@linf:0.02")
    assert found.counts(0.02)[0] == 3
    assert found.counts(0.1)[0] == 2
    assert int(ledger.forwards.sum()) == before + 6
    assert "1 examples survived" in found.warnings(Linf(0.1))[0]


def test_bounds_extend_the_certified_radius():
    found, _ = sweep()
    found.take_bound(torch.tensor([2, 3]), {"bound": torch.tensor([0.1, math.nan])}, 0.3)
    assert found.counts(0.3) == (3, 1)


def test_radii_of_the_curve():
    found, _ = sweep()
    assert found.radii([0.3, 0.01]) == [0.0, 0.01, 0.1, 0.3]
    assert found.warnings(Linf(0.1)) == []


def test_no_curve_without_one_radius_for_all():
    _, ledger = sweep()
    data = as_data((torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 0, 1, 2])))
    assert Sweep(ledger, Linf(torch.full((5,), 0.1)), data).radii([]) == []


@pytest.mark.parametrize("radius", [0.0, 0.03, 0.07, 0.1, 0.5])
def test_certified_is_never_above_robust(radius):
    found, _ = sweep()
    robust, proved = found.counts(radius)
    assert proved <= robust


def test_a_witness_inside_the_threat_counts_for_the_answer_itself():
    found, ledger = sweep()
    robust = ledger.count(Outcome.UNDECIDED, Outcome.CERTIFIED)
    found.take_attack(torch.tensor([3]), rows([True], [0.08]), "pgd@linf:0.09")
    assert ledger.count(Outcome.UNDECIDED, Outcome.CERTIFIED) == robust - 1
    assert ledger.rows()["method"][3] == "pgd@linf:0.09"
    found.take_attack(torch.tensor([4]), rows([True], [0.3]), "pgd@linf:0.3")
    assert ledger.count(Outcome.UNDECIDED, Outcome.CERTIFIED) == robust - 1


def test_falling_inside_the_certified_radius_is_a_contradiction():
    found, _ = sweep()
    with pytest.raises(Contradiction, match="example 2"):
        found.take_attack(torch.tensor([2]), rows([True], [0.05]), "pgd@linf:0.05")
