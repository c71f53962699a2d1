import pytest
import torch

from holdfast.reproduce.overfitting_protocol import (
    BEST,
    BEST_AT,
    CLEAN_AT_BEST,
    FINAL,
    FINAL_CLEAN,
    LOST,
    TRAIN,
    TRAIN_AT_BEST,
    all_overfit,
    curve,
    having,
    lines,
    lost,
    of_errors,
    small_sizes,
)

ROBUST = [0.1, 0.5, 0.4, 0.3, 0.2, 0.3, 0.3]
COLUMNS = {
    "history.robust_accuracy": torch.tensor([ROBUST]),
    "history.clean_accuracy": torch.tensor([[0.2, 0.6, 0.7, 0.7, 0.8, 0.8, 0.7]]),
    "history.accuracy": torch.tensor([[0.1, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]]),
}


def test_best_and_final_of_a_curve():
    found = curve(COLUMNS)
    expected = {
        BEST: 0.5,
        FINAL: 0.3,
        LOST: 0.2,
        CLEAN_AT_BEST: 0.6,
        FINAL_CLEAN: 0.74,
        BEST_AT: 2 / 7,
        TRAIN_AT_BEST: 0.5,
        TRAIN: 0.8,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert found["final_robust_accuracy_spread"] == pytest.approx(0.005**0.5, abs=1e-6)


def test_of_several_seeds_each_has_its_own_best():
    both = {name: torch.cat([each, each.flip(1)]) for name, each in COLUMNS.items()}
    found = curve(both)
    assert found[BEST] == pytest.approx(0.5)
    assert found[FINAL] == pytest.approx((0.3 + 0.3) / 2)
    assert found[BEST_AT] == pytest.approx((2 + 6) / 2 / 7)


def test_the_accuracy_in_training_is_that_under_attack_where_there_are_two():
    found = curve(COLUMNS | {"history.adversarial_accuracy": torch.full((1, 7), 0.25)})
    assert found[TRAIN] == 0.25


def test_a_training_that_was_not_validated_has_no_curve():
    assert lines({}, {"row": {"figure.clean_accuracy": torch.tensor([0.5])}}) == {
        "row": {"clean_accuracy": 0.5}
    }
    assert lines({}, {"row": COLUMNS})["row"][BEST] == 0.5


def test_errors_become_accuracies():
    found = of_errors(51.4, 43.2, 0.41, (13.4, 0.19, 13.9))
    assert (found[BEST], found[FINAL], found[LOST]) == (0.568, 0.486, 0.082)
    assert (found[FINAL_CLEAN], found[CLEAN_AT_BEST]) == (0.866, 0.861)
    assert (found[FINAL + "_spread"], found[FINAL_CLEAN + "_spread"]) == (0.0041, 0.0019)


def test_overfitting_is_more_than_a_point():
    claim = all_overfit("text")
    assert claim.judge({"a": {LOST: 0.02}, "b": {LOST: 0.3}, "c": {}}) is True
    assert claim.judge({"a": {LOST: 0.02}, "b": {LOST: 0.009}}) is False
    assert claim.judge({"c": {FINAL: 0.3}}) is None
    assert having({"a": {LOST: None}, "b": {LOST: 0.0, BEST: 0.1}}, LOST, BEST) == ["b"]
    with pytest.raises(KeyError):
        lost({"a": {LOST: None}}, "a")


def test_small_sizes_say_how_they_differ():
    quick, scaled = small_sizes(minutes=5, note="and more")
    assert (quick.name, scaled.name, scaled.minutes) == ("quick", "scaled", 5)
    assert scaled.note.endswith("; and more")
    assert scaled.changes["training.epochs"] == 60
