import csv
import io
import math
import re

import pytest

from holdfast.report.sizes import BINS, size_histogram

SIZES = [0.02, 0.05, 0.1, 0.1, 0.07, math.nan, 0.03]
OUTCOMES = ["broken"] * 4 + ["undecided", "broken", "certified"]


def _examples(sizes=SIZES, outcomes=OUTCOMES):
    return {"index": range(100, 107), "size": sizes, "outcome": outcomes}


def test_the_data_are_the_broken_examples():
    drawing = size_histogram(_examples(), 0.1)
    rows = list(csv.DictReader(io.StringIO(drawing.csv)))
    assert [(row["index"], float(row["size"])) for row in rows] == [
        ("100", 0.02),
        ("101", 0.05),
        ("102", 0.1),
        ("103", 0.1),
    ]
    assert "broke 4 examples, from 0.02 to 0.1; half of them fell to 0.05 or less" in drawing.alt


@pytest.mark.parametrize("radius", [0.1, math.nan, math.inf, 0.0])
def test_a_finite_radius_is_marked(radius):
    drawing = size_histogram(_examples(), radius)
    marked = radius == 0.1
    assert any(key.label == "radius 0.1" for key in drawing.keys) == marked
    assert ("the threat's radius is 0.1" in drawing.alt) == marked
    assert ("stroke-dasharray" in drawing.svg[0]) == marked


def test_every_size_has_a_bar_and_the_share_its_own_axis():
    drawn = size_histogram(_examples(), 0.2).svg[0]
    heights = re.findall(r"fill: var\(--broken\)", drawn)
    assert len(heights) == BINS
    assert all(f">{tick}</text>" in drawn for tick in ("0%", "50%", "100%"))


def test_sizes_that_do_not_vary_draw_nothing():
    same = [0.1, 0.0995, 0.1, 0.1, 0.02, math.nan, 0.03]
    assert size_histogram(_examples(same), 0.1) is None
    assert size_histogram(_examples(outcomes=["broken"] + ["undecided"] * 6), 0.1) is None
    assert size_histogram({"size": SIZES}, 0.1) is None
    assert size_histogram(_examples([0.0] * 7)) is None


def test_many_examples_make_a_short_curve():
    count = 5000
    sizes = [0.1 * (at + 1) / count for at in range(count)]
    drawn = size_histogram({"size": sizes, "outcome": ["broken"] * count}, 0.1).svg[0]
    assert len(drawn) < 20_000
