from holdfast.reproduce.budget_capacity import NARROW, REPRODUCTION, SHAPES, WIDTHS, named
from reproduce.judged import builds, holds

LINES = {
    named(width, shape): {"robust_accuracy": 0.11 if shape == "constant" and width < 8 else 0.8}
    for width in WIDTHS
    for shape in SHAPES
}


def test_claims_ask_for_failures_of_the_constant_radius_alone():
    lines = {name: dict(line) for name, line in LINES.items()}
    for width in WIDTHS:
        lines[named(width, "constant")]["robust_accuracy"] -= 0.01
    assert holds(REPRODUCTION, lines) == [True] * 3
    turned = {
        name: {"robust_accuracy": 0.9 - line["robust_accuracy"]} for name, line in lines.items()
    }
    assert holds(REPRODUCTION, turned) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 3 * (2 * len(NARROW) + len(WIDTHS))
    assert found["published", named(4, "cosine")].training.radius_schedule(0.9) == 1
