"""Paired comparison: the exact test against enumeration, the pairing by index, refusals."""

import itertools
import random

import pytest

from holdfast.benchmark.compare import compare, mcnemar
from holdfast.core.errors import InputError
from holdfast.runs.directory import Run

OUTCOMES = ["misclassified", "broken", "certified", "undecided"]


def run_with(folder, name, outcomes, *, data="d1", index=None, **more):
    run = Run.create("evaluate", "net", "digits", path=folder / name)
    count = len(outcomes)
    share = {
        "clean": sum(each != "misclassified" for each in outcomes) / count,
        "robust": sum(each in ("certified", "undecided") for each in outcomes) / count,
        "certified": sum(each == "certified" for each in outcomes) / count,
    }
    result = {f"{key}_accuracy": value for key, value in share.items()}
    result |= {"threat": "linf:0.1", "settings": {"data": data, "attacks": {}, "bounds": []}}
    run.write_examples({"index": index or list(range(count)), "outcome": outcomes})
    run.write_result(result | more)
    return run


@pytest.mark.parametrize(("b", "c"), [(0, 1), (1, 3), (2, 2), (0, 7), (5, 4), (6, 1)])
def test_the_p_value_is_that_of_all_coin_throws(b, c):
    """Of all 2^n outcomes of n fair throws, the share that is as far from even or further."""
    throws = list(itertools.product((0, 1), repeat=b + c))
    far = sum(abs(sum(each) - (b + c) / 2) >= abs(b - (b + c) / 2) for each in throws)
    assert mcnemar(b, c) == pytest.approx(far / len(throws))


def test_runs_that_do_not_differ_have_p_value_1():
    assert mcnemar(0, 0) == 1.0


def test_differences_are_counted_pair_by_pair(tmp_path):
    draw = random.Random(3)
    first = [draw.choice(OUTCOMES) for _ in range(60)]
    second = [draw.choice(OUTCOMES) for _ in range(60)]
    order = draw.sample(range(60), 60)
    one = run_with(tmp_path, "one", first)
    two = run_with(tmp_path, "two", [second[i] for i in order], index=order)
    found = {row.measure: row for row in compare(one, two).rows}
    stands = [(a in OUTCOMES[2:], b in OUTCOMES[2:]) for a, b in zip(first, second, strict=True)]
    assert found["robust"].only_first == stands.count((True, False))
    assert found["robust"].only_second == stands.count((False, True))
    expected = (stands.count((False, True)) - stands.count((True, False))) / 60
    assert found["robust"].difference == pytest.approx(expected)
    assert list(found) == ["clean", "robust", "certified"]


def test_an_accuracy_that_one_run_lacks_is_left_out(tmp_path):
    one = run_with(tmp_path, "one", ["broken", "undecided"])
    two = run_with(tmp_path, "two", ["broken", "undecided"], certified_accuracy=None)
    assert [row.measure for row in compare(one, two).rows] == ["clean", "robust"]


def test_other_examples_are_refused(tmp_path):
    one = run_with(tmp_path, "one", ["broken", "undecided"])
    other = run_with(tmp_path, "other", ["broken", "undecided"], data="d2")
    with pytest.raises(InputError, match="holds other examples than"):
        compare(one, other)
    rows = run_with(tmp_path, "rows", ["broken", "undecided"], index=[5, 6])
    with pytest.raises(InputError, match="rows of other examples"):
        compare(one, rows)


def test_what_else_differs_is_said(tmp_path):
    one = run_with(tmp_path, "one", ["broken"])
    settings = {"data": "d1", "attacks": {"fgsm": "FGSM()"}, "bounds": []}
    two = run_with(tmp_path, "two", ["broken"], threat="l2:1", settings=settings)
    assert compare(one, one).warnings == ()
    said = compare(one, two).warnings
    assert [text.split()[1] for text in said] == ["threats", "attacks"]


def test_other_protocols_are_named(tmp_path):
    versions = [{"protocol": {"name": n, "version": f"{n}/1", "hash": n}} for n in ("fast", "rand")]
    runs = [run_with(tmp_path, each["protocol"]["name"], ["broken"], **each) for each in versions]
    own = run_with(tmp_path, "own", ["broken"])
    assert compare(runs[0], runs[0]).warnings == ()
    (said,) = compare(*runs).warnings
    assert said.startswith("the protocols differ: fast/1, rand/1;")
    assert "a list of attacks, fast/1" in compare(own, runs[0]).warnings[0]


def test_a_severe_flag_is_told(tmp_path):
    flags = [{"code": "randomised", "severity": "severe"}, {"code": "classes", "severity": "info"}]
    one = run_with(tmp_path, "one", ["broken"])
    two = run_with(tmp_path, "two", ["broken"], flags=flags)
    assert compare(one, two).warnings == (
        "two has severe flags (randomised): its number is in doubt",
    )


def test_the_comparison_is_plain_data(tmp_path):
    one = run_with(tmp_path, "one", ["certified", "broken", "undecided"])
    found = compare(one, one).to_dict()
    assert found["runs"] == ["one", "one"]
    assert found["examples"] == 3
    assert found["differences"][0]["p_value"] == 1.0
