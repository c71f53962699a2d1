"""certify: what it proves, the radii it finds, and what it refuses."""

import json

import numpy as np
import pytest

from holdfast.runs.directory import Run

BASE = ("--model", "net.safetensors", "--data", "digits", "--limit", "12", "--threads", "1")


def certify(run_command, *more):
    answer = run_command("certify", *BASE, *more)
    assert answer.code == 0, answer.err
    return answer


def test_certify_is_an_evaluation_without_attacks(here, run_command):
    answer = certify(run_command, "--threat", "linf:0.005", "--json", "--quiet")
    found = json.loads(answer.out)
    assert found["attacks"] == []
    assert found["certified_by"] == ["auto"]
    assert 0 < found["certified_accuracy"] <= found["robust_accuracy"] == found["clean_accuracy"]
    assert found["run"] == "runs/certify-net-digits-1"


def test_certify_refuses_a_model_without_a_graph(here, run_command, listing):
    (here / "odd.py").write_text(
        "import torch\n"
        "class Odd(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return torch.sin(x.flatten(1))[:, :10]\n"
    )
    before = listing()
    answer = run_command(
        *("certify", "--model", "odd:Odd", "--data", "digits", "--threat", "linf:0.1"),
        *("--limit", "30", "--quiet"),
    )
    assert answer.code == 2
    assert answer.err.startswith("error: nothing is certified")
    assert "sin" in answer.err
    assert listing() == before


def test_radii_are_kept_shown_and_proved_by_certify(here, run_command):
    answer = certify(run_command, "--threat", "linf:0.5", "--radius", "--out", "copy.json")
    run = Run.open("runs/radius-net-digits-1")
    result, rows = run.read_result(), run.read_examples()
    assert (here / "copy.json").read_bytes() == run.result_file.read_bytes()
    assert f"{result['mean_radius']:.4g}" in answer.out
    assert "radii  12/12" in answer.err
    assert run.report_file.is_file()
    assert result["mean_radius"] == pytest.approx(float(np.mean(rows["radius"])))
    shares = [row["certified_accuracy"] for row in result["curve"]]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == result["clean_accuracy"]
    radius = float(np.median(rows["radius"]))
    found = json.loads(
        certify(
            run_command, "--threat", f"linf:{radius}", "--method", "crown", "--json", "--quiet"
        ).out
    )
    assert found["certified_accuracy"] == np.mean(rows["radius"] >= radius)


@pytest.mark.slow
def test_radii_go_on_where_they_stopped_and_do_not_depend_on_jobs(here, run_command):
    options = ("--threat", "linf:0.5", "--radius", "--block", "5", "--quiet")
    certify(run_command, *options, "--run", "one")
    certify(run_command, *options, "--run", "part")
    (here / "part" / "result.json").unlink()
    chunks = sorted((here / "part" / "journal").iterdir())
    assert len(chunks) == 3
    chunks[1].unlink()
    certify(run_command, *options, "--run", "part", "--resume")
    one, part = (Run.open(name).read_examples() for name in ("one", "part"))
    assert {name: one[name].tolist() for name in one} == {
        name: part[name].tolist() for name in part
    }
    assert len(list((here / "part" / "journal").iterdir())) == 3


@pytest.mark.slow
def test_radii_by_two_processes_are_those_of_one(here, run_command):
    options = ("--threat", "linf:0.5", "--radius", "--block", "5", "--quiet")
    for jobs in ("1", "2"):
        certify(run_command, *options, "--jobs", jobs, "--run", f"jobs{jobs}")
    one, two = (Run.open(f"jobs{jobs}").read_examples() for jobs in (1, 2))
    assert {name: one[name].tolist() for name in one} == {name: two[name].tolist() for name in two}


@pytest.mark.parametrize(
    ("given", "said"),
    {
        "search alone": (("--search", "secant"), "search='secant': is for radii"),
        "precision alone": (("--precision", "0.1"), "precision=0.1: is for radii"),
        "search of no line": (
            ("--radius", "--method", "interval", "--search", "newton"),
            "search='newton': needs a linear bound, not interval",
        ),
        "auto": (("--radius", "--method", "auto"), "bound"),
        "precision": (("--radius", "--precision", "-1"), "precision=-1.0"),
        "block": (("--radius", "--block", "0"), "block=0: is below 1"),
        "spatial": (("--radius", "--threat", "spatial:rot=30"), "no norm"),
        "jobs": (("--radius", "--jobs", "0"), "jobs=0: is not positive"),
        "dry run": (("--radius", "--dry-run"), "time a few with --limit"),
    }.values(),
)
def test_what_radii_do_not_take_is_one_line_and_leaves_nothing(
    here, run_command, listing, given, said
):
    before = listing()
    threat = () if "--threat" in given else ("--threat", "linf:0.1")
    answer = run_command("certify", *BASE, *threat, *given)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert listing() == before
