import csv
import io
import math
import re

import pytest

from holdfast.report.passes import accuracy_against_passes, pass_ticks


def _result(**fields):
    attacks = [
        {"name": "race", "forwards": 174, "backwards": 116, "robust_accuracy": 22 / 29},
        {"name": "apgd", "forwards": 2900, "backwards": 2320, "robust_accuracy": 22 / 29},
        {"name": "<b>$x_1$", "forwards": 29000, "backwards": 0, "robust_accuracy": 20 / 29},
    ]
    rest = {"model": "net", "examples": 29, "clean_accuracy": 27 / 29, "attacks": attacks}
    return rest | fields


def test_costs_add_up_per_image():
    rows = list(csv.DictReader(io.StringIO(accuracy_against_passes([_result()]).csv)))
    assert [row["attack"] for row in rows] == ["clean", "race", "apgd", "<b>$x_1$"]
    assert [float(row["passes per image"]) for row in rows] == pytest.approx([1, 11, 191, 1191])
    robust = [27 / 29, 22 / 29, 22 / 29, 20 / 29]
    assert [float(row["robust"]) for row in rows] == pytest.approx(robust)


def test_the_clean_prediction_costs_what_the_run_says():
    stages = [{"stage": "clean", "forwards": 58, "backwards": 0}]
    rows = list(csv.DictReader(io.StringIO(accuracy_against_passes([_result(stages=stages)]).csv)))
    assert float(rows[0]["passes per image"]) == 2
    assert float(rows[1]["passes per image"]) == 12


def test_marks_stand_on_a_logarithmic_axis():
    wide, _ = accuracy_against_passes([_result()]).svg
    marks = re.findall(r'<use href="#[^"]*" x="([\d.]+)" y="([\d.]+)" style="([^"]*)"', wide)
    assert len(marks) == 3
    x = [float(at) for at, _, _ in marks]
    scale = (x[2] - x[0]) / math.log(1191 / 11)
    assert x[1] - x[0] == pytest.approx(scale * math.log(191 / 11), abs=0.05)
    assert marks[0][1] == marks[1][1] < marks[2][1]
    assert ["paper" in style.partition(";")[0] for _, _, style in marks] == [False, True, False]


def test_numbers_name_the_steps_of_one_run_only():
    alone = accuracy_against_passes([_result()])
    both = accuracy_against_passes([_result(), _result()], ["a", "b"])
    assert all(f">{number}</text>" in alone.svg[0] for number in (2, 3))
    assert ">3</text>" not in both.svg[0]
    assert [key.label for key in both.keys] == ["a", "b"]


def test_names_never_reach_the_drawing():
    drawing = accuracy_against_passes([_result()])
    assert "<b>" not in "".join(drawing.svg)
    assert "&lt;b&gt;$x_1$: 69.0% after 1191" in drawing.svg[0]


def test_without_costs_there_is_no_figure():
    free = [row | {"forwards": 0, "backwards": 0} for row in _result()["attacks"]]
    assert accuracy_against_passes([_result(attacks=free)]) is None
    assert accuracy_against_passes([_result(attacks=[])]) is None
    assert accuracy_against_passes([]) is None
    shown = accuracy_against_passes([_result(attacks=[]), _result(model="two")])
    assert [(key.label, key.colour) for key in shown.keys] == [("two", "series-1")]


@pytest.mark.parametrize(("low", "high"), [(0.3, 4.0), (1.0, 30.0), (2.0, 1e6), (5.0, 6.0)])
def test_ticks_lie_within_and_are_few(low, high):
    ticks = pass_ticks(low, high)
    assert ticks
    assert all(low <= tick <= high for tick in ticks)
    assert len(ticks) <= 7
