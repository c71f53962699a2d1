"""evaluate, certify, attack: what they write and show, and what they take from a training run."""

import json

import numpy as np
import pytest
import torch

from holdfast.cli.evaluate import threads
from holdfast.runs.directory import Run
from holdfast.runs.examples import read_adversarial

BASE = ("--model", "net.safetensors", "--data", "digits", "--limit", "30", "--threads", "1")


def evaluate(run_command, *more, verb="evaluate", threat="linf:0.05"):
    answer = run_command(verb, *BASE, "--threat", threat, *more)
    assert answer.code == 0, answer.err
    return answer


def test_a_run_directory_holds_everything(here, run_command):
    answer = evaluate(run_command, "--attacks", "fgsm", "--radii", "0.02", "--out", "copy.json")
    run = Run.open("runs/evaluate-net-digits-1")
    result = run.read_result()
    assert f"run: {run.path}" in answer.out
    assert (here / "copy.json").read_bytes() == run.result_file.read_bytes()
    assert run.report_file.is_file()
    assert len(run.read_examples()["index"]) == 30
    assert (run.path / "gallery.safetensors").is_file()
    assert result["command"].startswith("holdfast evaluate --model net.safetensors --data digits")
    assert [row["radius"] for row in result["radii"]] == [0.0, 0.02, 0.05]
    assert result["environment"]["threads"] == 1
    assert f"{result['robust_accuracy']:.2%}" in answer.out
    assert "fgsm@linf:0.05" in answer.err
    assert "fgsm@" not in answer.out


def test_json_is_the_result_alone_on_stdout(here, run_command):
    answer = evaluate(run_command, "--attacks", "fgsm", "--json", "--quiet", "--run", "runs/x")
    found = json.loads(answer.out)
    assert found.pop("run") == "runs/x"
    assert found == Run.open("runs/x").read_result()
    assert answer.err == ""


@pytest.mark.slow
def test_warnings_are_lines_on_stderr(here, run_command):
    answer = run_command(
        *("evaluate", "--model", "mlp", "--data", "digits", "--threat", "linf:0.1"),
        *("--attacks", "fgsm", "--limit", "30", "--quiet"),
    )
    assert answer.code == 0
    assert answer.err == "warning: the model has its initial weights: give weights\n"


@pytest.mark.slow
def test_radii_are_in_input_units_whatever_the_normalisation(here, run_command):
    def robust(*more):
        answer = evaluate(run_command, "--attacks", "fgsm", "--json", "--quiet", *more)
        return json.loads(answer.out)["robust_accuracy"]

    assert robust("--normalize", "0", "1") == robust()


@pytest.mark.slow
def test_attack_leaves_examples_that_other_tools_can_read(here, run_command):
    more = ("--attacks", "pgd-5-1", "--save-examples", "mine.npz", "--quiet")
    evaluate(run_command, *more, verb="attack", threat="linf:0.1")
    for file in (here / "mine.npz", here / "runs" / "attack-net-digits-1" / "adversarial.npz"):
        with np.load(file, allow_pickle=False) as found:
            assert found["x_adv"].shape == (30, 1, 8, 8)
            broken = found["outcome"] == "broken"
            assert broken.any()
            assert (found["size"][broken] <= 0.1 + 1e-6).all()
            assert (found["x_adv"][broken] >= 0).all()


@pytest.mark.parametrize("kind", ["npz", "parquet"])
@pytest.mark.slow
def test_examples_are_saved_as_the_ending_says(kind, here, run_command):
    more = ("--attacks", "pgd-5-1", "--bounds", "", "--quiet", "--save-examples", f"mine.{kind}")
    evaluate(run_command, *more)
    found = read_adversarial(here / f"mine.{kind}")
    rows = Run.open("runs/evaluate-net-digits-1").read_examples()
    assert found["x_adv"].shape == (30, 1, 8, 8)
    assert found["outcome"].tolist() == rows["outcome"].tolist()
    assert found["index"].tolist() == rows["index"].tolist()
    missed = found["outcome"] == "misclassified"
    assert np.isnan(found["x_adv"][missed]).all()
    assert not np.isnan(found["x_adv"][~missed]).any()


@pytest.mark.slow
def test_a_protocol_is_told_step_by_step_with_flags(here, run_command):
    more = ("--protocol", "apgd-t-3-20", "--run", "runs/x")
    answer = evaluate(run_command, *more)
    result = Run.open("runs/x").read_result()
    assert result["protocol"]["version"] == "apgd-t-3-20/1"
    (step,) = result["attacks"]
    per_example = (step["forwards"] + step["backwards"]) / step["examples"]
    lines = [line.split() for line in answer.out.splitlines()]
    told = [str(step[key]) for key in ("name", "examples", "broken")]
    told += [f"{step['robust_accuracy']:.2%}", f"{per_example:,.0f}"]
    assert told in lines
    assert "protocol apgd-t-3-20/1" in answer.out
    assert "Can this number be believed?" in answer.out
    assert "apgd-t-3-20@linf:0.05" in answer.err


def test_probabilities_are_a_flag(here, run_command):
    (here / "soft.py").write_text(
        "import torch\n"
        "def make():\n"
        "    layers = torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Softmax(1)\n"
        "    return torch.nn.Sequential(*layers)\n"
    )
    answer = run_command(
        *("evaluate", "--model", "soft:make", "--data", "digits", "--threat", "linf:0.1"),
        *("--attacks", "fgsm", "--bounds", "", "--limit", "20", "--quiet"),
    )
    assert answer.code == 0, answer.err
    assert "severe: probabilities" in answer.out


@pytest.mark.slow
def test_a_training_run_may_name_a_protocol(here, run_command):
    asked = ("evaluation.attacks=[]", "evaluation.protocol=apgd-t-3-20", "training.epochs=1")
    sets = [each for text in asked for each in ("--set", text)]
    trained = run_command("train", "digits-standard", *sets, "--quiet", "--run", "runs/mine")
    assert trained.code == 0, trained.err
    base = ("evaluate", "--model", "runs/mine", "--limit", "20", "--json", "--quiet")
    found = json.loads(run_command(*base).out)
    assert found["protocol"]["name"] == "apgd-t-3-20"
    other = json.loads(run_command(*base, "--attacks", "fgsm").out)
    assert [row["name"] for row in other["attacks"]] == ["fgsm"]


@pytest.mark.slow
def test_a_model_that_was_not_trained_here_meets_the_fast_protocol(here, run_command):
    found = json.loads(evaluate(run_command, "--json", "--quiet").out)
    assert found["protocol"]["name"] == "fast"
    assert found["audit"]["protocol"] == "standard"


@pytest.mark.slow
def test_a_training_run_says_what_is_not_said(here, run_command):
    quick = ("--set", "training.epochs=1", "--set", "evaluation.radii=[0.05]", "--quiet")
    trained = run_command("train", "digits-standard", *quick, "--run", "runs/mine")
    assert trained.code == 0, trained.err
    answer = run_command("evaluate", "--model", "runs/mine", "--limit", "20", "--json", "--quiet")
    found = json.loads(answer.out)
    recipe = Run.open("runs/mine").read_recipe()
    assert found["threat"] == recipe["threat"]
    assert found["model"] == "digits-standard"
    assert [row["name"] for row in found["attacks"]] == recipe["evaluation"]["attacks"]
    assert 0.05 in [row["radius"] for row in found["radii"]]
    assert found["trained_in"] == "../mine"


@pytest.mark.slow
def test_a_factory_of_the_current_folder_is_found(here, run_command):
    (here / "my_nets.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    answer = run_command(
        *("evaluate", "--model", "my_nets:make", "--data", "digits", "--threat", "l2:0.1"),
        *("--attacks", "fgsm", "--limit", "20", "--quiet", "--json"),
    )
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["model"] == "my_nets:make"


@pytest.mark.slow
def test_a_finished_run_is_resumed_to_the_same_result(here, run_command):
    more = ("--attacks", "fgsm", "--quiet", "--run", "runs/x")
    evaluate(run_command, *more)
    before = Run.open("runs/x").read_examples()
    evaluate(run_command, *more, "--resume")
    after = Run.open("runs/x").read_examples()
    plain = [{key: column.tolist() for key, column in each.items()} for each in (before, after)]
    assert repr(plain[0]) == repr(plain[1])


def test_resume_finds_the_newest_unfinished_run(here, run_command):
    for _ in range(2):
        evaluate(run_command, "--attacks", "fgsm", "--quiet")
    (here / "runs" / "evaluate-net-digits-1" / "result.json").unlink()
    answer = evaluate(run_command, "--attacks", "fgsm", "--quiet", "--json", "--resume")
    assert json.loads(answer.out)["run"] == "runs/evaluate-net-digits-1"


@pytest.mark.parametrize("count", [None, 1])
def test_threads_are_restored(count):
    before = torch.get_num_threads()
    with threads(count):
        assert torch.get_num_threads() == (count or before)
    assert torch.get_num_threads() == before
