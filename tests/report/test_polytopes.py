import numpy as np

from holdfast.report.polytopes import Polytope, paint_polytope, polytope_plot

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])


def polytope():
    reached = np.array([[0.5, 0.5], [1.0, 0.75], [1.5, 0.25]])
    return Polytope(reached, {"dual": SQUARE, "interval": SQUARE * 3})


def test_spans_are_said_and_corners_kept():
    found = polytope_plot(polytope(), "one")
    assert "the sample spans 1 by 0.5" in found.alt
    assert "dual spans 2 by 1; interval spans 6 by 3" in found.alt
    assert [key.label for key in found.keys] == ["reached", "dual", "interval"]
    assert len(found.csv.strip().splitlines()) == 9
    assert "one-" in found.svg[0] or found.svg[0].startswith("<svg")


def test_outlines_are_closed():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    paint_polytope(axes, polytope())
    cloud, first, second = axes.lines
    assert len(cloud.get_xdata()) == 3
    assert first.get_xydata()[0].tolist() == first.get_xydata()[-1].tolist() == [0.0, 0.0]
    assert second.get_linestyle() == "--"
