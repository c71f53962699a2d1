import pytest

from holdfast.reproduce.fast_step_sizes import BEST, EIGHTHS, REPRODUCTION, named

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def test_published_figures_are_those_of_the_text():
    assert LINES[named(BEST)]["robust_accuracy"] == 0.4606
    assert LINES[named(16, stopped=True)]["robust_accuracy"] == 0.4038
    assert [LINES[named(each)]["robust_accuracy"] for each in range(12, 17)] == [0.0] * 5
    assert named(11) not in LINES


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = REPRODUCTION.rows(REPRODUCTION.size(size))
    recipes = [row.build(0, tmp_path) for row in rows]
    steps = [f"{each / 8:g}*eps" for each in EIGHTHS[size]]
    assert [recipe.objective.step for recipe in recipes] == steps * 2
    stopped = [bool(recipe.training.monitors) for recipe in recipes]
    assert stopped == [False] * len(steps) + [True] * len(steps)


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True] * 3
    turned = {
        name: {"robust_accuracy": 0.5 - line["robust_accuracy"]} for name, line in LINES.items()
    }
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False] * 3
