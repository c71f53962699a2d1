import numpy as np

from holdfast.report.certified_radii import Profile, paint_profile, radius_profile

ROBUST = Profile([0.3, 0.1, 0.2], [True, False, True])


def test_radii_are_sorted_and_said():
    found = radius_profile({"robust": ROBUST, "standard": Profile([0.0, 0.02], [True, True])}, 0.1)
    assert "robust: median 0.2, largest 0.3" in found.alt
    assert [key.label for key in found.keys] == ["robust", "standard", "radius 0.1"]
    assert len(found.svg) == 2
    rows = found.csv.strip().splitlines()
    assert [row.split(",")[1] for row in rows[1:4]] == ["0.1", "0.2", "0.3"]
    assert [row.split(",")[2] for row in rows[1:4]] == ["no", "yes", "yes"]


def test_wrong_examples_are_marked_at_their_rank():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    paint_profile(axes, {"robust": ROBUST}, 0.15)
    curve, marks, line = axes.lines
    assert np.allclose(curve.get_xydata(), [[1 / 6, 0.1], [0.5, 0.2], [5 / 6, 0.3]])
    assert np.allclose(marks.get_xydata(), [[1 / 6, 0.1]])
    assert set(line.get_ydata()) == {0.15}


def test_nothing_to_show_is_none():
    assert radius_profile({}) is None
    assert radius_profile({"empty": Profile([], [])}) is None
