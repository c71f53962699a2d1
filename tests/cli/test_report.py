"""report and quickstart."""

import json

import pytest

from holdfast.cli import report as module


@pytest.mark.slow
def test_a_run_gets_its_page_and_several_share_one(here, run_command):
    (here / "runs" / "a" / "report.html").unlink()
    answer = run_command("report", "runs/a")
    assert answer.code == 0
    assert answer.out == "report: runs/a/report.html\n"
    assert (here / "runs" / "a" / "report.html").is_file()
    answer = run_command("report", "runs/a", "runs/b", "--out", "both.html", "--json")
    assert json.loads(answer.out) == {"report": "both.html"}
    assert "2 models compared" in (here / "both.html").read_text()


def test_quickstart_shows_its_table_and_page(here, run_command, monkeypatch):
    from holdfast.report import quickstart

    called = {}

    def tour(out, **options):
        called.update(options, out=out)
        return quickstart.Quickstart(here / "report.html", (here / "runs" / "a",), "the table")

    monkeypatch.setattr(quickstart, "quickstart", tour)
    answer = run_command("quickstart", "--out", "tour", "--seed", "3", "--limit", "9")
    assert answer.out == f"the table\nreport: {here / 'report.html'}\n"
    assert (called["out"], called["seed"], called["limit"]) == ("tour", 3, 9)
    assert module.quickstart.__doc__


def test_an_interrupted_quickstart_says_how_to_go_on(here, run_command, monkeypatch):
    from holdfast.report import quickstart

    def tour(out, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "quickstart", tour)
    answer = run_command("quickstart", "--seed", "3")
    assert answer.code == 130
    assert "holdfast quickstart --seed 3" in answer.err
