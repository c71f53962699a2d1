import csv
import io
import re

import pytest

from holdfast.report.radius import accuracy_against_radius


@pytest.fixture(scope="module")
def results(evaluated):
    return [evaluated(model="one").result, evaluated(model="two", certified=False).result]


def test_the_data_are_the_results_own(results):
    drawing = accuracy_against_radius(results)
    rows = list(csv.DictReader(io.StringIO(drawing.csv)))
    points = [(r["model"], p) for r in results for p in r["radii"]]
    assert len(rows) == len(points) == 8
    for row, (model, point) in zip(rows, points, strict=True):
        assert row["model"] == model
        assert float(row["robust"]) == point["robust_accuracy"]
        assert row["certified"] == str(point["certified_accuracy"] or "") or (
            float(row["certified"]) == point["certified_accuracy"]
        )


def test_the_description_says_the_numbers(results):
    alt = accuracy_against_radius(results[:1]).alt
    assert "radius 0.1: at most 51.4%, at least 29.7%" in alt
    assert "at least" not in accuracy_against_radius(results[1:]).alt


def test_one_model_is_not_named_and_several_are(results):
    alone = [key.label for key in accuracy_against_radius(results[:1]).keys]
    assert alone == ["not broken by any attack", "certified", "not known"]
    both = [(key.label, key.mark) for key in accuracy_against_radius(results, ["a", "b"]).keys]
    assert both == [
        ("a: not broken by any attack", "line"),
        ("a: certified", "dashed"),
        ("b: not broken by any attack", "line"),
    ]


def test_both_sizes_mark_the_own_radius_and_label_the_measured_ones(results):
    wide, narrow = accuracy_against_radius(results[:1]).svg
    for drawn in (wide, narrow):
        for tick in ("0", "0.05", "0.1", "0.2"):
            assert f">{tick}</text>" in drawn
        assert drawn.count("stroke-dasharray: 1.8") == 1


def test_points_stand_where_their_values_are(results):
    wide, _ = accuracy_against_radius(results[1:]).svg
    marks = re.findall(r'<use href="#[^"]*" x="([\d.]+)" y="([\d.]+)" style="fill: var', wide)
    top, height = 10, 346  # of the axes in px, for shares from -0.015 to 1.015
    values = [point["robust_accuracy"] for point in results[1]["radii"]]
    expected = [top + height * (1.015 - value) / 1.03 for value in values]
    assert [float(y) for _, y in marks] == pytest.approx(expected, abs=0.02)
    x = [float(x) for x, _ in marks]
    assert (x[1] - x[0]) * 2 == pytest.approx(x[2] - x[0], abs=0.02)
    assert (x[1] - x[0]) * 4 == pytest.approx(x[3] - x[0], abs=0.02)


def test_names_never_reach_the_drawing(evaluated):
    drawing = accuracy_against_radius([evaluated(model="$x_<b>").result] * 2)
    assert "<b>" not in "".join(drawing.svg)
    assert "$x_&lt;b&gt;: radius" in drawing.svg[0]


def test_without_radii_there_is_no_figure(results):
    assert accuracy_against_radius([results[0] | {"radii": []}]) is None
    assert len(accuracy_against_radius([results[0], results[1] | {"radii": []}]).keys) == 2


def test_threats_whose_text_has_no_number_draw_no_mark(results):
    wide, _ = accuracy_against_radius([results[0] | {"threat": "union(linf:0.1,l2:1)"}]).svg
    assert wide.count("stroke-dasharray: 1.8") == 0
