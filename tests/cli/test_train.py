"""train: a run with a checkpoint, curves, a page; resumed, or started from given weights."""

import json

import pytest
import torch

from holdfast.facades import load
from holdfast.models import build_model, save_model
from holdfast.runs.directory import Run
from holdfast.runs.metrics import read

QUICK = ("--set", "training.epochs=1", "--set", "data.validation=60", "--limit", "300", "--quiet")


def test_a_run_directory_holds_everything(here, run_command):
    answer = run_command("train", "digits-standard", *QUICK, "--out", "copy.json")
    assert answer.code == 0, answer.err
    run = Run.open("runs/train-digits-standard-digits-1")
    result = run.read_result()
    assert result["command"].startswith("holdfast train digits-standard --set training.epochs=1")
    assert result["chosen_epoch"] == 1
    assert (here / "copy.json").read_bytes() == run.result_file.read_bytes()
    assert run.report_file.is_file()
    assert run.read_recipe()["data"]["limit"] == 300
    assert read(run.metrics_file)
    assert f"next: holdfast evaluate --model {run.path}" in answer.out
    assert load(run.path)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_json_is_the_record(here, run_command):
    answer = run_command("train", "digits-standard", *QUICK, "--json", "--run", "runs/x")
    found = json.loads(answer.out)
    assert found.pop("run") == "runs/x"
    assert found == Run.open("runs/x").read_result()


@pytest.mark.slow
def test_a_range_test_suggests_a_rate_and_trains_nothing(here, run_command):
    asked = ("train", "digits-standard", "--limit", "300", "--range-test")
    before = sorted(here.rglob("*"))
    found = json.loads(run_command(*asked, "--json").out)
    assert 1e-4 < found["suggestion"] < 10
    assert len(found["rates"]) == len(found["losses"])
    answer = run_command(*asked)
    assert f"largest rate that lowered the loss: {found['suggestion']:.2g}" in answer.out
    assert sorted(here.rglob("*")) == before


def test_training_starts_from_given_weights(here, run_command):
    model = build_model("digits_conv", seed=5)
    save_model("start.safetensors", model)
    still = ("--set", 'training.schedule={kind = "constant", value = 1e-30}')
    options = (*still, "--init", "start.safetensors", "--run", "runs/x")
    answer = run_command("train", "digits-standard", *QUICK, *options)
    assert answer.code == 0, answer.err
    found = load("runs/x").state_dict()
    assert all(torch.allclose(found[key], value) for key, value in model.state_dict().items())
    assert Run.open("runs/x").read_result()["initial_weights"] == "start.safetensors"


@pytest.mark.slow
def test_a_finished_training_is_not_overwritten(here, run_command):
    assert run_command("train", "digits-standard", *QUICK, "--run", "runs/x").code == 0
    answer = run_command("train", "digits-standard", *QUICK, "--run", "runs/x")
    assert answer.code == 2
    assert "--resume" in answer.err
    assert run_command("train", "digits-standard", *QUICK, "--run", "runs/x", "--resume").code == 0
