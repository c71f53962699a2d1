"""Results on stdout, the rest on stderr, and only from rank 0."""

import json

import pytest

from holdfast.cli import output
from holdfast.runs.directory import Run


def test_only_rank_0_talks(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    output.emit("a")
    output.emit_json({})
    output.emit_table("t", ("a",), [("b",)])
    output.warn(["c"])
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RANK", "0")
    output.emit("a")
    output.warn(["two\nlines"])
    assert capsys.readouterr() == ("a\n", "warning: two lines\n")


def test_json_has_no_nan(capsys):
    output.emit_json({"x": float("nan"), "y": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"x": None, "y": [1, 2]}


def test_a_table_shows_every_cell_and_no_markup(capsys):
    output.emit_table("title", ("name", "count"), [("[red]a[/red]", 12), ("b", 3)])
    out = capsys.readouterr().out
    assert out.startswith("title")
    assert "[red]a[/red]" in out
    assert "\x1b" not in out
    lines = [line.split() for line in out.splitlines() if line.strip()]
    assert ["b", "3"] in lines


@pytest.mark.slow
def test_an_evaluation_is_told_with_its_intervals(here, capsys):
    result = Run.open("runs/b").read_result()
    output.evaluation(result)
    out = capsys.readouterr().out
    for name in ("clean", "robust", "certified"):
        assert f"{result[f'{name}_accuracy']:.2%}" in out
    low, high = result["robust_interval"]
    assert f"{low:.2%} - {high:.2%}" in out
    assert "pgd-3-1" in out


def test_an_accuracy_that_was_not_measured_says_so():
    assert output.percent(None) == "not run"
    assert output.percent(1) == "100.00%"


@pytest.mark.parametrize("title", ["", "shown"])
def test_a_table_may_have_no_rows(title, capsys):
    output.emit_table(title, ("name",), [])
    assert "name" in capsys.readouterr().out
