import csv
import io
import math
import re

import pytest

from holdfast.report.outcomes import _edges, _heights, margin_histogram, outcome_bar


def test_the_bar_adds_up_to_all_examples(evaluated):
    drawing = outcome_bar(evaluated().result)
    rows = list(csv.DictReader(io.StringIO(drawing.csv)))
    counts = {row["outcome"]: int(row["examples"]) for row in rows}
    assert counts == {
        "certified": 11,
        "undecided": 8,
        "broken by pgd-20-2": 6,
        "broken by fgsm": 9,
        "misclassified": 3,
    }
    widths = [float(w) for w in re.findall(r'<rect x="[\d.]+%" width="([\d.]+)%"', drawing.svg[0])]
    assert widths == pytest.approx([100 * count / 37 for count in counts.values()], abs=1e-3)
    assert "8 undecided, 6 broken by pgd-20-2" in drawing.alt


def test_nothing_certified_leaves_the_rest_undecided(evaluated):
    drawing = outcome_bar(evaluated(certified=False).result)
    labels = [key.label for key in drawing.keys]
    assert not any("certified" in label for label in labels)
    assert labels[0].startswith("undecided")


def test_names_of_attacks_are_escaped(evaluated):
    result = evaluated().result
    result["attacks"][0]["name"] = '<script>"'
    assert "<script>" not in outcome_bar(result).svg[0]


def test_the_histogram_holds_every_finite_margin_once():
    examples = {
        "outcome": ["broken", "broken", "undecided", "certified", "misclassified", "certified"],
        "margin": [-0.5, -0.1, 0.3, 2.0, -3.0, math.inf],
    }
    drawing = margin_histogram(examples)
    rows = list(csv.DictReader(io.StringIO(drawing.csv)))
    assert [float(row["margin"]) for row in rows] == [-0.5, -0.1, 0.3, 2.0, -3.0]
    assert [key.label for key in drawing.keys] == [
        "certified",
        "undecided",
        "broken",
        "misclassified",
    ]
    assert "3 lie at or below 0" in drawing.alt


MIXED = [-1.7, -0.3, -1e-9, 0.0, 1e-9, 0.2, 5.1]


@pytest.mark.parametrize("margins", [MIXED, [-1.0] * 999 + [0.5], [2.0] * 999 + [0.0]])
def test_no_bin_mixes_the_signs(margins):
    edges = _edges(margins)
    assert 0.0 in edges
    below, above = [m for m in margins if m <= 0], [m for m in margins if m > 0]
    negative, positive = _heights(below, edges), _heights(above, edges)
    assert (sum(negative), sum(positive)) == (len(below), len(above))
    assert not any(low and high for low, high in zip(negative, positive, strict=True))


def test_without_margins_there_is_no_histogram():
    assert margin_histogram({"outcome": ["broken"]}) is None
    assert margin_histogram({"outcome": ["broken"], "margin": [math.nan]}) is None
    assert margin_histogram({"outcome": ["broken"] * 2, "margin": [0.0, 0.0]}) is not None


def test_many_attacks_share_one_part(evaluated):
    result = evaluated().result
    falls, standing, rows = (3, 2, 0, 4, 1, 5), 34, []
    for number, fell in enumerate(falls):
        standing -= fell
        rows.append({"name": f"race-{number}", "robust_accuracy": standing / 37})
    labels = [key.label for key in outcome_bar(result | {"attacks": rows}).keys]
    assert labels == ["certified 11", "undecided 8", "broken 15", "misclassified 3"]
    few = [key.label for key in outcome_bar(result | {"attacks": rows[-1:]}).keys]
    assert few[2] == "broken by race-5 15"


def test_what_the_attacks_do_not_account_for_is_not_lost(evaluated):
    result = evaluated().result
    labels = [key.label for key in outcome_bar(result | {"attacks": result["attacks"][:1]}).keys]
    assert labels[2] == "broken 15"
