"""The ledger: outcomes are decided once, evidence is kept, contradictions are errors."""

import pytest
import torch

from holdfast.core.ledger import Contradiction, Ledger
from holdfast.core.results import AttackResult, Outcome


def result(margin, success=None):
    margin = torch.tensor(margin)
    n = len(margin)
    success = margin <= 0 if success is None else torch.tensor(success)
    ones = torch.ones(n, dtype=torch.int64)
    x_adv = torch.arange(n).float()[:, None] + margin[:, None]
    return AttackResult(x_adv, success, margin, margin.abs(), -margin, 5 * ones, 4 * ones, ones)


def ledger():
    made = Ledger(torch.tensor([10, 20, 30, 40]), torch.tensor([0, 1, 0, 1]))
    margin = torch.tensor([-0.5, 1.0, 2.0, float("nan")])
    made.take_clean(torch.arange(4), torch.tensor([1, 1, 0, 0]), torch.rand(4), margin)
    return made


def test_clean_misclassifications_include_ties_and_nan():
    made = ledger()
    assert made.outcome.tolist() == [1, 0, 0, 1]
    assert made.undecided().tolist() == [1, 2]
    assert made.share(Outcome.MISCLASSIFIED) == 0.5


def test_broken_rows_keep_the_witness_and_later_methods_change_nothing():
    made = ledger()
    made.take_attack(torch.tensor([1, 2]), result([-0.1, 0.4]), "fgsm")
    assert made.outcome.tolist() == [1, 2, 0, 1]
    made.take_attack(torch.tensor([2]), result([0.9]), "weaker")
    assert made.margin[2] == pytest.approx(0.4)
    made.take_attack(torch.tensor([2]), result([-0.2]), "pgd")
    rows = made.rows()
    assert rows["method"] == ["clean", "fgsm", "pgd", "clean"]
    assert rows["outcome"] == ["misclassified", "broken", "broken", "misclassified"]
    assert rows["forwards"] == [1, 6, 16, 1]
    assert made.x_adv[2].tolist() == pytest.approx([-0.2])


def test_only_a_positive_bound_certifies():
    made = ledger()
    made.take_bound(torch.tensor([1, 2]), torch.tensor([float("nan"), 0.0]), "interval")
    assert made.count(Outcome.CERTIFIED) == 0
    made.take_bound(torch.tensor([1, 2]), torch.tensor([-1.0, 0.2]), "crown")
    assert made.outcome.tolist() == [1, 0, 3, 1]
    assert made.bound[2] == pytest.approx(0.2)


def test_certified_and_broken_is_a_contradiction():
    made = ledger()
    made.take_bound(torch.tensor([1]), torch.tensor([0.5]), "interval")
    with pytest.raises(Contradiction, match="example 20"):
        made.take_attack(torch.tensor([1]), result([-0.1]), "pgd")
    made = ledger()
    made.take_attack(torch.tensor([2]), result([-0.1]), "pgd")
    with pytest.raises(Contradiction, match="example 30"):
        made.take_bound(torch.tensor([2]), torch.tensor([0.5]), "interval")


def test_per_class_counts():
    made = ledger()
    made.take_attack(torch.tensor([1, 2]), result([-0.1, 0.4]), "fgsm")
    made.take_bound(torch.tensor([2]), torch.tensor([0.1]), "interval")
    assert made.per_class(["even", "odd"]) == [
        {"class": "even", "examples": 2, "clean": 1, "robust": 1, "certified": 1},
        {"class": "odd", "examples": 2, "clean": 1, "robust": 0, "certified": 0},
    ]
