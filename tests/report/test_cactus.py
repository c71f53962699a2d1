import csv
import io

from holdfast.report.cactus import cactus


def rows(*pairs):
    return [{"verdict": verdict, "seconds": seconds} for verdict, seconds in pairs]


def test_curves_are_sorted_and_open_queries_left_out():
    drawing = cactus(rows(("holds", 3.0), ("timeout", 9.0), ("violated", 0.5), ("holds", 0.002)))
    found = list(csv.DictReader(io.StringIO(drawing.csv)))
    by_curve = {
        curve: [float(each["seconds"]) for each in found if each["curve"] == curve]
        for curve in ("decided", "holds", "violated")
    }
    assert by_curve == {"decided": [0.002, 0.5, 3.0], "holds": [0.002, 3.0], "violated": [0.5]}
    assert [each["decided"] for each in found[:3]] == ["1", "2", "3"]
    assert "3 of 4 queries decided" in drawing.alt
    assert "the slowest in 3.0 s" in drawing.alt
    assert "half of these within 500 ms" in drawing.alt
    assert [key.label for key in drawing.keys] == ["decided: 3", "holds: 2", "violated: 1"]
    assert "1 are open" in drawing.caption


def test_nothing_decided_draws_nothing():
    assert cactus(rows(("timeout", 1.0), ("unknown", 0.1))) is None


def test_the_drawing_is_reproducible_and_differs_in_its_names():
    one, two = (cactus(rows(("holds", 1e-5), ("violated", 700.0))) for _ in range(2))
    assert one == two
    assert "1 ms" in one.svg[0]
    assert "1000 s" in one.svg[0]
    assert len(one.svg) == 2
