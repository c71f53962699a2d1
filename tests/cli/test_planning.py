"""A dry run predicts and computes nothing."""

import json

import pytest


def test_a_dry_evaluation_leaves_no_trace(here, run_command, listing):
    before = listing()
    answer = run_command(
        *("evaluate", "--model", "net.safetensors", "--data", "digits", "--threat", "linf:0.1"),
        *("--attacks", "fgsm,pgd-10-2", "--radii", "0.05", "--limit", "30", "--dry-run", "--json"),
    )
    plan = json.loads(answer.out)
    assert answer.code == 0
    assert listing() == before
    assert {stage["stage"]: stage["backwards"] for stage in plan["stages"]} == {
        "clean": 0,
        "checks": plan["stages"][1]["backwards"],
        "interval": 0,
        "fgsm": 30 * 2,
        "pgd-10-2": 30 * 2 * 20,
    }
    checked = plan["stages"][1]["forwards"]
    assert plan["forwards"] == checked + 30 + 30 * 2 * (3 + 4 + 24)
    assert plan["protocol"] is None
    assert plan["seconds"] > 0
    assert plan["memory"] > 1 << 20


@pytest.mark.parametrize("protocol", ["fast", "standard", "plus", "rand"])
def test_a_protocol_is_planned_step_by_step(protocol, here, run_command):
    base = ("--model", "net.safetensors", "--data", "digits", "--threat", "linf:0.1")
    asked = ("--protocol", protocol, "--limit", "30", "--dry-run")
    plan = json.loads(run_command("evaluate", *base, *asked, "--json").out)
    steps = {stage["stage"]: stage["forwards"] for stage in plan["stages"]}
    assert plan["protocol"].startswith(f"{protocol}/")
    if protocol in ("standard", "plus"):
        assert list(steps)[-1] in ("square", "fab-t")
        assert steps["square"] == 30 * 5003
    said = run_command("evaluate", *base, *asked).out
    assert ("adapts" in said) is (protocol == "fast")


def test_a_dry_evaluation_is_told_in_words(here, run_command):
    answer = run_command(
        *("certify", "--model", "net.safetensors", "--data", "digits", "--threat", "linf:0.1"),
        *("--limit", "30", "--dry-run"),
    )
    assert "would certify net.safetensors on 30 examples of digits, linf:0.1" in answer.out
    assert "at most" in answer.out


def test_a_dry_training_shows_the_recipe_and_its_passes(here, run_command, listing):
    before = listing()
    changed = ("--set", "training.epochs=3", "--batch-size", "32", "--seed", "7")
    answer = run_command("train", "digits-pgd", *changed, "--dry-run", "--json")
    plan = json.loads(answer.out)
    assert listing() == before
    assert plan["recipe"]["training"]["epochs"] == 3
    assert plan["recipe"]["training"]["batch_size"] == 32
    assert plan["recipe"]["seed"] == 7
    assert plan["backwards"] == 1297 * 3 * 8
    text = run_command("train", "digits-pgd", *changed, "--dry-run").out
    assert "epochs = 3" in text
    assert f"{plan['forwards']:,} forwards" in text
