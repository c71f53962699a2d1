import numpy as np
import pytest

from holdfast.report.drawing import Drawing
from holdfast.report.plane import Plane, decision_plot


def plane(**boxes):
    regions = np.zeros((6, 8), int)
    regions[:, 4:] = 1
    points = np.array([[0.2, 0.5], [0.7, 0.4], [0.9, 0.9]])
    return Plane(regions, (0.0, 1.0, 0.0, 1.0), points, np.array([0, 1, 1]), boxes)


def test_the_drawing_says_what_it_shows():
    found = decision_plot(
        plane(uniform=np.full((3, 2), 0.1), own=np.full((3, 2), 0.2)), "two", "Two boxes"
    )
    assert isinstance(found, Drawing)
    assert found.alt == "Decision regions of 2 classes with 3 points and boxes: uniform, own."
    assert [key.label for key in found.keys] == ["uniform", "own"]
    assert [key.mark for key in found.keys] == ["line", "dashed"]
    assert found.svg[0].startswith("<svg")
    rows = found.csv.strip().splitlines()
    assert len(rows) == 4
    assert rows[0].count(",") == 6


def test_boxes_have_their_size_and_zero_draws_none():
    from matplotlib.figure import Figure

    from holdfast.report.plane import paint_plane

    axes = Figure().subplots()
    sizes = np.array([[0.1, 0.2], [0.0, 0.3], [0.05, 0.05]])
    paint_plane(axes, plane(own=sizes))
    drawn = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in axes.patches]
    assert drawn == [
        pytest.approx((0.1, 0.3, 0.2, 0.4)),
        pytest.approx((0.85, 0.85, 0.1, 0.1)),
    ]
    assert axes.get_xlim() == (0.0, 1.0)


def test_one_class_alone_has_no_boundary():
    alone = Plane(np.zeros((4, 4), int), (0, 1, 0, 1), np.zeros((1, 2)), np.zeros(1, int), {})
    assert decision_plot(alone).alt == "Decision regions of 1 classes with 1 points."
