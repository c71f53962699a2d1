import csv
import io

import pytest

from holdfast.report.sanity import sanity_curve


def _curve(radii, robust):
    return sanity_curve({"sanity": {"radii": radii, "robust": robust}})


def test_the_data_are_the_points_by_radius():
    drawing = _curve([0.2, 0.0, 0.1], [0.0, 0.9, 0.4])
    rows = list(csv.DictReader(io.StringIO(drawing.csv)))
    points = [(float(row["radius"]), float(row["robust"])) for row in rows]
    assert points == [(0.0, 0.9), (0.1, 0.4), (0.2, 0.0)]
    assert "radius 0.1: 40.0%" in drawing.alt


@pytest.mark.parametrize(
    ("robust", "said"),
    [
        ([0.9, 0.4, 0.0], "Here it does."),
        ([0.9, 0.4, 0.2], "Here 20.0% stand at the largest radius."),
        ([0.9, 0.4, 0.5], "rises at 1 of 2 places"),
    ],
)
def test_the_caption_says_whether_it_does_what_it_should(robust, said):
    assert said in _curve([0.0, 0.1, 0.2], robust).caption


def test_without_two_points_there_is_no_figure():
    assert sanity_curve({}) is None
    assert sanity_curve({"sanity": None}) is None
    assert _curve([0.1], [0.5]) is None
