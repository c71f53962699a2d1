"""list, show, copy, check, convert."""

import json

import pytest
import torch

from holdfast.cli.catalogues import NOUNS


@pytest.mark.parametrize("noun", NOUNS)
def test_every_entry_is_listed_and_shown(noun, run_command):
    listed = json.loads(run_command(noun, "list", "--json").out)
    assert [entry["name"] for entry in listed] == list(NOUNS[noun][0])
    shown = run_command(noun, "list").out
    assert listed[-1]["name"] in shown
    page = run_command(noun, "show", listed[0]["name"])
    assert page.code == 0
    assert listed[0]["summary"] in page.out


def test_the_options_of_an_attack_are_shown_with_their_defaults(run_command):
    found = json.loads(run_command("attacks", "show", "pgd", "--json").out)
    assert found["options"]["restarts"] == "10"
    assert "restarts = 10" in run_command("attacks", "show", "pgd").out


def test_recipes_are_listed_shown_copied_and_checked(here, run_command):
    listed = {
        row["name"]: row["summary"]
        for row in json.loads(run_command("recipes", "list", "--json").out)
    }
    assert listed["digits-pgd"]
    text = run_command("recipes", "show", "digits-pgd").out
    assert run_command("recipes", "copy", "digits-pgd").out.startswith("digits-pgd.toml\n")
    assert (here / "digits-pgd.toml").read_text() == text
    answer = run_command("recipes", "check", "digits-pgd.toml", "--set", "training.epochs=3")
    assert (answer.code, answer.out) == (0, "digits-pgd: in order\n")
    resolved = json.loads(run_command("recipes", "check", "digits-pgd", "--json").out)
    assert resolved["threat"] == "linf:0.15"


def test_a_pickle_becomes_weights(here, run_command):
    torch.save({"module.w": torch.arange(3.0)}, here / "net.pt")
    answer = run_command("models", "convert", "net.pt", "w.safetensors")
    assert answer.code == 0
    from safetensors.torch import load_file

    assert load_file(here / "w.safetensors")["w"].tolist() == [0, 1, 2]
