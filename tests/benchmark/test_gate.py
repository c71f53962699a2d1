"""The gate: boundaries, missing certificates, drops, and its files."""

import xml.etree.ElementTree

import pytest

from holdfast.benchmark.gate import gate
from holdfast.core.errors import InputError
from holdfast.runs.directory import Run


def run_with(folder, name="new", **accuracies):
    run = Run.create("evaluate", "net", "digits", path=folder / name)
    figures = {"clean": 0.9, "robust": 0.5, "certified": None} | accuracies
    run.write_result({f"{key}_accuracy": value for key, value in figures.items()})
    return run


def test_an_accuracy_that_is_reached_exactly_passes(tmp_path):
    run = run_with(tmp_path, robust=0.45)
    assert gate(run, min_robust=0.45).passed
    assert not gate(run, min_robust=0.4501).passed


def test_all_criteria_must_hold(tmp_path):
    found = gate(run_with(tmp_path), min_clean=0.8, min_robust=0.6)
    assert [(each.name, each.passed) for each in found.criteria] == [
        ("min-clean", True),
        ("min-robust", False),
    ]
    assert not found.passed


def test_what_was_not_measured_fails(tmp_path):
    found = gate(run_with(tmp_path), min_certified=0.0)
    assert not found.passed
    assert "not measured" in str(found.criteria[0])
    assert "not measured" in found.markdown()


def test_a_drop_of_exactly_the_allowance_passes(tmp_path):
    old = run_with(tmp_path, "old", clean=0.93, robust=0.58, certified=0.3)
    new = run_with(tmp_path, clean=0.93, robust=0.57, certified=0.31)
    assert gate(new, max_drop=0.01, against=old).passed
    found = gate(new, max_drop=0.009, against=old)
    assert [each.name for each in found.criteria if not each.passed] == ["max-drop robust"]


def test_a_certificate_that_is_lost_is_a_drop(tmp_path):
    old = run_with(tmp_path, "old", certified=0.3)
    found = gate(run_with(tmp_path), max_drop=0.1, against=old)
    assert [each.name for each in found.criteria if not each.passed] == ["max-drop certified"]


def test_a_training_run_is_judged_by_the_evaluation_in_it(tmp_path):
    run = Run.create("train", "net", "digits", path=tmp_path / "t")
    run.write_result({"evaluation": {"clean_accuracy": 0.9, "robust_accuracy": 0.2}})
    assert gate(run, min_robust=0.2).passed


def test_junit_counts_failures_and_escapes_names(tmp_path):
    run = run_with(tmp_path, 'a<&"b')
    tree = xml.etree.ElementTree.fromstring(gate(run, min_clean=0.1, min_robust=0.9).junit())
    assert (tree.get("tests"), tree.get("failures")) == ("2", "1")
    assert tree[0].get("classname") == 'a<&"b'
    assert tree[1].find("failure").text.startswith("min-robust: found 0.5000")


@pytest.mark.parametrize(
    ("asked", "holds"), [("standard", True), ("standard/1", True), ("standard/2", False)]
)
def test_a_protocol_may_be_asked_for_with_its_version(asked, holds, tmp_path):
    run = run_with(tmp_path)
    run.write_result(
        run.read_result() | {"protocol": {"name": "standard", "version": "standard/1"}}
    )
    found = gate(run, protocol=asked)
    assert found.passed is holds
    assert str(found.criteria[0]) == f"protocol: found standard/1, asked for {asked}"
    assert f"| protocol | {asked} | standard/1 |" in found.markdown()


def test_a_list_of_attacks_is_no_protocol(tmp_path):
    for number, record in enumerate(({}, {"protocol": None})):
        run = run_with(tmp_path, f"r{number}")
        run.write_result(run.read_result() | record)
        assert not gate(run, protocol="fast").passed


@pytest.mark.parametrize(
    ("flags", "holds", "told"),
    [
        ([], True, "none"),
        ([{"code": "classes", "severity": "info"}], True, "none"),
        ([{"code": "zero-gradients", "severity": "severe"}], False, "zero-gradients"),
        (None, False, "not measured"),
    ],
)
def test_severe_flags_fail_and_so_does_a_run_without_checks(flags, holds, told, tmp_path):
    run = run_with(tmp_path)
    run.write_result(run.read_result() | {"flags": flags})
    found = gate(run, no_severe_flags=True)
    assert found.passed is holds
    assert f"found {told}," in str(found.criteria[0])
    assert ("<failure>" in found.junit()) is not holds


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({}, "has no criterion"),
        ({"min_robust": 45}, "min_robust=45: is no fraction"),
        ({"min_clean": float("nan")}, "min_clean=nan"),
        ({"max_drop": 0.1}, "max_drop=0.1: is given without against"),
    ],
)
def test_criteria_that_make_no_sense_are_refused(tmp_path, wrong, told):
    with pytest.raises(InputError, match=told):
        gate(run_with(tmp_path), **wrong)


def test_a_run_without_an_evaluation_is_refused(tmp_path):
    run = Run.create("train", "net", "digits", path=tmp_path / "t")
    run.write_result({"seconds": 1.0})
    with pytest.raises(InputError, match="holds no evaluation"):
        gate(run, min_clean=0.1)
