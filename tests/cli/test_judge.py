"""compare and gate as commands."""

import json
import xml.etree.ElementTree

import pytest

from holdfast.runs.directory import Run


def test_compare_shows_differences_and_p_values(here, run_command):
    answer = run_command("compare", "runs/a", "runs/b", "--out", "c.json", "--json")
    found = json.loads(answer.out)
    assert answer.code == 0
    assert json.loads((here / "c.json").read_text()) == found
    robust = {row["measure"]: row for row in found["differences"]}["robust"]
    results = [Run.open(f"runs/{name}").read_result()["robust_accuracy"] for name in "ab"]
    assert robust["difference"] == pytest.approx(results[1] - results[0])
    assert answer.err == "warning: the attacks differ: part of a difference may be theirs\n"
    text = run_command("compare", "runs/a", "runs/b").out
    assert text.startswith("a -> b, 40 examples")
    assert f"{robust['difference']:+.2%}" in text


def test_gate_says_what_failed_and_exits_with_1(here, run_command):
    robust = Run.open("runs/a").read_result()["robust_accuracy"]
    files = ("--junit", "g.xml", "--markdown", "g.md")
    answer = run_command("gate", "runs/a", "--min-robust", robust, "--min-clean", "1/2", *files)
    assert (answer.code, answer.err) == (0, "")
    answer = run_command(
        "gate", "runs/a", "--min-robust", robust + 0.01, "--min-clean", "0", *files
    )
    assert answer.code == 1
    assert answer.out.splitlines()[1].startswith("FAILED  min-robust: found")
    tree = xml.etree.ElementTree.parse(here / "g.xml").getroot()
    assert (tree.get("tests"), tree.get("failures")) == ("2", "1")
    assert "**failed**" in (here / "g.md").read_text()


def test_gate_measures_a_drop_against_an_older_run(here, run_command):
    old = Run.open("runs/a").read_result()["robust_accuracy"]
    new = Run.open("runs/b").read_result()["robust_accuracy"]
    answer = run_command("gate", "runs/b", "--max-drop", "0", "--against", "runs/a", "--json")
    rows = {row["name"]: row for row in json.loads(answer.out)["criteria"]}
    assert rows["max-drop robust"]["passed"] is (new >= old)
    assert answer.code == (0 if all(row["passed"] for row in rows.values()) else 1)


def test_gate_asks_for_a_protocol_and_no_severe_flags(here, run_command):
    answer = run_command("gate", "runs/a", "--protocol", "standard", "--no-severe-flags")
    assert answer.code == 1
    assert answer.out.splitlines() == [
        "FAILED  protocol: found a list of attacks, asked for standard",
        "passed  no-severe-flags: found none, asked for none",
    ]
