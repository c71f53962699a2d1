import json
from dataclasses import replace

import pytest
import torch

from holdfast.attacks import PGD
from holdfast.attacks.square import Square
from holdfast.core.errors import InputError, MissingExtra, RunConflict
from holdfast.core.random import Keys
from holdfast.reproduce import REPRODUCTIONS, run
from holdfast.reproduce.records import Row
from holdfast.reproduce.running import attacked, wrong_classes
from holdfast.reproduce.subjects import DIGITS, Place
from holdfast.runs import Journal, Run
from holdfast.threats import Linf

ENTRY = REPRODUCTIONS["square-robust-mnist"].load()


class Stopped(Exception):
    """Stands for a kill."""


def test_a_run_leaves_table_figure_page_and_result(quickly):
    finding, kept = quickly("square-robust-mnist")
    result = kept.read_result()
    assert result["published_setting"] is False
    assert result["setting"].startswith("not the published setting: 8x8 digits")
    assert "Not the published setting" in kept.report_file.read_text()
    assert "Not the published setting" in (kept.path / "table.md").read_text()
    assert "<svg" in (kept.path / "figure.svg").read_text()
    assert [each["holds"] for each in result["claims"]] == [None] * len(ENTRY.claims)
    assert {row["row"] for row in result["rows"]} == set(finding.outcomes)
    assert all(row["examples"] == 12 for row in result["rows"])
    compared = {line["line"]: line["figures"] for line in result["comparison"]}
    assert compared["SignHunter"]["robust_accuracy"]["published"] == 0.9147
    assert all(f["within_tolerance"] is None for x in compared.values() for f in x.values())


@pytest.mark.slow
def test_figures_are_those_of_the_attack_itself(quickly, store):
    finding, _ = quickly("square-robust-mnist", seed=5)
    subject = DIGITS.load(Place(store=store), 12)
    attack = Square(queries=20, p_init=0.8)
    result = attack.run(
        subject.model, subject.x, subject.y, Linf(0.1), keys=Keys.of(5, subject.index)
    )
    found = finding.outcomes["Square, 1 run"]
    assert torch.equal(found.broken, result.success & found.correct)
    assert torch.equal(found.queries[found.broken], result.forwards[found.broken] - 2)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_figures(quickly, tmp_path, monkeypatch):
    whole, _ = quickly("square-robust-mnist")
    told = []

    def stop(text):
        told.append(text)
        if len(told) == 3:
            raise Stopped

    with pytest.raises(Stopped):
        quickly("square-robust-mnist", tell=stop)
    kept = Run.open(tmp_path / "run1")
    assert not kept.finished
    asked = []
    original = Square.run
    monkeypatch.setattr(
        Square, "run", lambda self, *a, **o: asked.append(self) or original(self, *a, **o)
    )
    monkeypatch.setattr(PGD, "run", lambda *a, **o: pytest.fail("was done already"))
    again = run(ENTRY, kept, size="quick")
    assert [each.restarts for each in asked] == [2]
    assert again.lines == whole.lines


def test_examples_of_the_journal_are_not_attacked_again(store, tmp_path):
    subject = DIGITS.load(Place(store=store), 9)
    row = Row(name="r", subject=DIGITS, threat="linf:0.15", attack=Square(queries=15, p_init=0.3))
    with Journal(tmp_path / "whole") as journal:
        whole = attacked(row, subject, journal, "r", 0)
    with Journal(tmp_path / "part") as journal:
        kept = torch.tensor([7, 1, 4])
        journal.append("r", {name: column[kept] for name, column in whole.items()})
        parts = attacked(row, subject, journal, "r", 0)
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_other_settings_are_refused(quickly):
    _, kept = quickly("square-robust-mnist")
    with pytest.raises(RunConflict, match="seed"):
        run(ENTRY, kept, size="quick", seed=1)


def test_rows_whose_package_is_absent_are_told(quickly, monkeypatch):
    def absent(*args, **options):
        raise MissingExtra("cma cannot be imported")

    monkeypatch.setattr(PGD, "run", absent)
    finding, kept = quickly("square-robust-mnist")
    assert finding.skipped == {"white box": "cma cannot be imported"}
    assert "not run: white box" in (kept.path / "table.md").read_text()
    assert kept.read_result()["not_run"] == finding.skipped


def test_missing_data_name_the_remedy(quickly, tmp_path):
    scaled = replace(ENTRY, sizes=(replace(ENTRY.size("scaled"), name="quick"),))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no models/mnist_conv_fgsm_linf0\.3"):
        quickly(scaled, data_dir=tmp_path / "empty")


@pytest.mark.slow
def test_a_limit_makes_it_smaller(quickly):
    finding, kept = quickly("square-robust-mnist", limit=3)
    assert {len(each) for each in finding.outcomes.values()} == {3}
    assert json.loads(kept.result_file.read_text())["size"]["images"] == 3


def test_targets_are_wrong_and_uniform():
    y = torch.arange(7).repeat(600)
    drawn = wrong_classes(Keys.of(0, range(len(y))), y, 7)
    assert not bool((drawn == y).any())
    assert (int(drawn.min()), int(drawn.max())) == (0, 6)
    counts = torch.bincount((drawn - y) % 7, minlength=7)[1:]
    chi = float(((counts - 700) ** 2 / 700).sum())
    assert chi < 20.5  # 5 degrees of freedom: 0.1 % of false alarms
