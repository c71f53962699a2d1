"""cite: names, methods with numbers, threats with radii, whole runs."""

import json

import pytest

from holdfast.cli.cite import papers
from holdfast.core.errors import InputError


def test_names_may_carry_numbers_and_radii():
    assert papers(["pgd-50-10-0.01"]) == ["madry2018"]
    assert papers(["pgd-at"]) == ["madry2018", "wong2020"]
    assert papers(["fab-t-7", "fab-9"]) == ["croce2020", "croce2020fab"]
    assert papers(["hop-skip-jump-1000"]) == ["chen2020"]
    assert papers(["apgd-t-3-20", "apgd-t-5-20"]) == ["croce2020"]
    assert papers(["l1:12"]) == ["duchi2008", "wong2020"]
    with pytest.raises(InputError, match="did you mean 'fgsm'"):
        papers(["fgms"])


def test_each_paper_comes_once():
    assert papers(["fgsm", "linf", "pgd"]) == ["goodfellow2015", "madry2018"]


def test_a_run_cites_what_it_used(here):
    found = papers(["runs/b"])
    assert {"holdfast", "goodfellow2015", "madry2018", "gowal2018", "alpaydin1998"} <= set(found)
    assert "madry2018" not in papers(["runs/a"])


def test_a_training_run_cites_its_recipe(here, run_command):
    quick = ("--set", "training.epochs=1", "--limit", "200", "--set", "data.validation=40")
    assert run_command("train", "digits-fgsm-rs", *quick, "--run", "runs/t", "--quiet").code == 0
    assert "wong2020fast" in papers(["runs/t"])


def test_the_command_prints_bibtex(run_command):
    assert run_command("cite", "fgsm").out.startswith("@inproceedings{goodfellow2015,")
    assert list(json.loads(run_command("cite", "fgsm", "--json").out)) == ["goodfellow2015"]
    assert "@software{holdfast" in run_command("cite").out
    assert run_command("cite", "standard").out.startswith("%")
