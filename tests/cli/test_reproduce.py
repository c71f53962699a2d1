"""reproduce as a command: the index, the records, a quick run."""

import json

import pytest

from holdfast.reproduce.catalogue import REPRODUCTIONS
from holdfast.runs.directory import Run


def test_the_index_is_that_of_the_catalogue(here, run_command):
    answer = run_command("reproduce", "list", "--json")
    assert [each["name"] for each in json.loads(answer.out)] == list(REPRODUCTIONS)
    assert "square-ablation" in run_command("reproduce", "list").out


def test_show_has_published_figures_sizes_and_claims(here, run_command):
    answer = run_command("reproduce", "show", "square-seeds")
    assert answer.code == 0
    for text in ("Table 3.8", "1,454 ± 71", "quick", "scaled", "claimed: "):
        assert text in answer.out
    record = json.loads(run_command("reproduce", "show", "square-seeds", "--json").out)
    assert record["published"]["robust MNIST l2 2"]["robust_accuracy"] == 0.16


@pytest.mark.slow
def test_a_quick_run_is_kept_and_says_that_it_is_not_the_published_setting(here, run_command):
    options = ("--quick", "--run", "runs/mine", "--limit", "4", "--out", "copy.json")
    answer = run_command("reproduce", "run", "square-dilated", *options)
    assert answer.code == 0, answer.err
    assert "Not the published setting: 8x8 digits" in answer.out
    assert "page: runs/mine/report.html" in answer.out
    assert "1 of 1: digits-quick" in answer.err
    result = Run.open("runs/mine").read_result()
    assert json.loads((here / "copy.json").read_text()) == result
    assert result["command"].startswith("holdfast reproduce run square-dilated --quick")
    assert result["rows"][0]["examples"] == 4
    again = run_command("reproduce", "run", "square-dilated", *options, "--resume", "--json")
    assert json.loads(again.out)["lines"] == result["lines"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "square-ablaton"), "did you mean 'square-ablation'?"),
        (("run", "square-seeds", "--quick", "--published"), "quick=True: contradicts --published"),
        (("run", "square-seeds", "--published"), "size='published': is not known"),
        (("run", "square-dilated", "--quick", "--limit", "0"), "limit=0: is below 1"),
        (("run", "square-robust-mnist", "--data-dir", "none"), "data_dir='none': is not a folder"),
        (
            ("run", "square-dilated", "--quick", "--device", "abacus"),
            "device='abacus': cannot be used here",
        ),
    ],
)
def test_bad_input_is_one_line(here, listing, run_command, arguments, message):
    before = listing()
    answer = (
        run_command("reproduce", *arguments, "--quiet")
        if arguments[0] == "run"
        else (run_command("reproduce", *arguments))
    )
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert listing() == before
