from dataclasses import FrozenInstanceError

import pytest
import torch

from holdfast.core.results import AttackResult, Bounds, Estimate, ObjectiveResult, Outcome, Verdict


def test_outcomes_have_their_fixed_words_and_codes():
    assert [str(outcome) for outcome in Outcome] == [
        "undecided",
        "misclassified",
        "broken",
        "certified",
    ]
    assert [int(outcome) for outcome in Outcome] == [0, 1, 2, 3]


def test_outcomes_are_codes_in_tensors():
    codes = torch.tensor([Outcome.BROKEN, Outcome.CERTIFIED], dtype=torch.int8)
    assert [Outcome(int(code)) for code in codes] == [Outcome.BROKEN, Outcome.CERTIFIED]
    assert (codes == Outcome.BROKEN).tolist() == [True, False]


def test_verdicts_have_their_fixed_words():
    assert {verdict.value for verdict in Verdict} == {"holds", "violated", "timeout", "unknown"}


def test_results_cannot_be_changed_and_do_not_compare_tensors():
    one = torch.zeros(1)
    results = [
        AttackResult(*(one,) * 8),
        Bounds(lower=one, upper=None, sound=True, exact=False),
        ObjectiveResult(loss=one),
        Estimate(value=1.0, stderr=None, n=3),
    ]
    for result in results:
        assert result == result  # by identity: comparing tensors would fail
        field = next(iter(vars(result)))
        with pytest.raises(FrozenInstanceError):
            setattr(result, field, None)


def test_results_do_not_share_their_dictionaries():
    one, two = (ObjectiveResult(loss=torch.zeros(())) for _ in range(2))
    one.logs["a"] = torch.ones(())
    assert two.logs == {}
