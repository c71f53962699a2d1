import csv
import io

from holdfast.report.curves import MOST_POINTS, learning_curves


def _rows(drawing):
    return list(csv.DictReader(io.StringIO(drawing.csv)))


def test_losses_and_accuracies_share_panels_and_settings_stand_alone():
    metrics = [
        {"epoch": e, "lr": 0.1 / e, "clean": 0.5, "loss": 2.0, "robust_accuracy": 0.1 * e}
        for e in (1, 2, 3)
    ]
    drawings = learning_curves(metrics)
    assert [d.title for d in drawings] == ["Loss", "Accuracy", "lr"]
    assert [key.label for key in drawings[1].keys] == ["clean", "robust_accuracy"]
    assert [float(row["value"]) for row in _rows(drawings[2])] == [0.1, 0.05, 0.1 / 3]
    assert {row["name"] for row in _rows(drawings[1])} == {"clean", "robust_accuracy"}


def test_what_is_no_series_of_numbers_is_left_out():
    metrics = [
        {"epoch": 1, "seconds": 3.0, "note": "a", "flag": True, "once": 1.0, "radius": 0.1},
        {"epoch": 2, "seconds": 4.0, "note": "b", "flag": False, "radius": 0.1, "bad": None},
    ]
    assert learning_curves(metrics) == []
    assert learning_curves([]) == []


def test_steps_are_the_clock_where_epochs_repeat():
    metrics = [{"epoch": 1 + s // 3, "step": s, "loss": 1.0 / s} for s in range(1, 8)]
    (drawing,) = learning_curves(metrics)
    assert [float(row["step"]) for row in _rows(drawing)] == [1, 2, 3, 4, 5, 6, 7]
    (drawing,) = learning_curves([{"loss": 2.0}, {"loss": 1.0}])
    assert [float(row["record"]) for row in _rows(drawing)] == [1, 2]


def test_records_of_whole_epochs_win_over_those_of_steps():
    metrics = [
        {"event": "step", "epoch": 1, "step": 5, "loss": 9.0, "learning_rate": 0.1},
        {"event": "epoch", "epoch": 1, "step": 10, "loss": 2.0},
        {"event": "step", "epoch": 2, "step": 15, "loss": 8.0, "learning_rate": 0.2},
        {"event": "step", "epoch": 2, "step": 20, "loss": 7.0, "learning_rate": 0.3},
        {"event": "epoch", "epoch": 2, "step": 20, "loss": 1.0},
    ]
    loss, rate = learning_curves(metrics)
    assert [(float(r["epoch"]), float(r["value"])) for r in _rows(loss)] == [(1, 2.0), (2, 1.0)]
    assert [float(r["epoch"]) for r in _rows(rate)] == [0.5, 1.5, 2.0]


def test_long_curves_are_thinned_in_the_drawing_and_whole_in_the_data():
    metrics = [{"step": s, "loss": float(s % 7)} for s in range(5 * MOST_POINTS + 3)]
    (drawing,) = learning_curves(metrics)
    assert len(_rows(drawing)) == len(metrics)
    assert str(MOST_POINTS) in drawing.caption
    assert drawing.svg[0].count(" L ") < 2 * MOST_POINTS


def test_hostile_keys_are_not_drawn_into_the_picture():
    metrics = [{"epoch": e, "<script>loss": 1.0 / e} for e in (1, 2)]
    (drawing,) = learning_curves(metrics)
    assert "<script>" not in drawing.svg[0]
