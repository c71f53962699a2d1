import csv
import io

import pytest

from holdfast.report.flow import outcome_flow

FALLS = (31, 8, 0, 3, 0, 0, 1)
ATTACKED = {
    "examples": 97,
    "clean_accuracy": 89 / 97,
    "robust_accuracy": (89 - sum(FALLS)) / 97,
    "certified_accuracy": 11 / 97,
}


def _rows(falls=FALLS):
    standing, rows = 89, []
    for number, broken in enumerate(falls, start=1):
        row = {"name": f"fast:race-{number}", "examples": standing - 11, "broken": broken}
        standing -= broken
        rows.append(row | {"robust_accuracy": standing / 97})
    return rows


@pytest.fixture
def flow():
    return outcome_flow(ATTACKED | {"attacks": _rows()})


def test_the_rows_are_the_steps_between_the_clean_model_and_what_is_left(flow):
    assert [step.kind for step in flow.steps] == [
        "start",
        *("step" if broken else "none" for broken in FALLS),
        "end",
        "end",
    ]
    assert [step.number for step in flow.steps] == [0, *range(1, 8), 0, 0]
    assert flow.steps[0].said == "8 of 97 wrong"
    assert flow.steps[1].said == "31 of 78 fell"
    assert flow.steps[3].said == "none of 39 fell"
    assert [step.label for step in flow.steps[-2:]] == ["certified", "undecided"]
    assert [step.said for step in flow.steps[-2:]] == ["11 proved", "35 left open"]


def test_each_row_starts_where_the_one_before_left_off(flow):
    standing = flow.steps[0].bar[0].width
    for step in flow.steps[1:-2]:
        stands, fell = step.bar
        assert stands.left == 0
        assert fell.left == pytest.approx(stands.width)
        assert fell.left + fell.width == pytest.approx(standing)
        standing = stands.width
    proved, open_ = flow.steps[-2].bar[0], flow.steps[-1].bar[0]
    assert open_.left == pytest.approx(proved.width)
    assert open_.left + open_.width == pytest.approx(standing)


def test_the_data_hold_the_counts(flow):
    rows = list(csv.DictReader(io.StringIO(flow.csv)))
    assert [int(row["broken"]) for row in rows] == [8, *FALLS]
    assert int(rows[-1]["standing"]) == 46


def test_rows_without_counts_are_read_from_the_accuracies(flow):
    bare = [{key: row[key] for key in ("name", "robust_accuracy")} for row in _rows()]
    found = outcome_flow(ATTACKED | {"attacks": bare})
    assert [step.bar for step in found.steps] == [step.bar for step in flow.steps]
    assert found.steps[1].said == "31 of 89 fell"
    assert "do not enter" in flow.note
    assert "do not enter" not in found.note


def test_what_no_attack_accounts_for_has_a_row(evaluated):
    result = ATTACKED | {"attacks": _rows(FALLS[:-1])}
    extra = outcome_flow(result).steps[-3]
    assert (extra.label, extra.said, extra.number) == ("found otherwise", "1 of 47 fell", 0)
    assert outcome_flow(result | {"audit": {"found": 1}}).steps[-3].label == "the audit"
    assert len(outcome_flow(evaluated().result).steps) == 5


def test_nothing_certified_leaves_one_end_and_no_attack_no_flow():
    one_sided = outcome_flow(ATTACKED | {"attacks": _rows(), "certified_accuracy": None})
    assert [step.label for step in one_sided.steps if step.kind == "end"] == ["undecided"]
    assert outcome_flow(ATTACKED | {"attacks": []}) is None
