import pytest

from holdfast.reproduce.fast_epochs import (
    EPOCHS_NEEDED,
    FAST,
    FREE,
    PASSES_NEEDED,
    PGD7,
    REPRODUCTION,
    named,
    needed,
)

LINES = {name: dict(line) for name, line in REPRODUCTION.published.items()}


def accuracies(method, found):
    """Lines of a method with these robust accuracies."""
    return {named(method, epochs): {"robust_accuracy": each} for epochs, each in found.items()}


def test_the_fewest_epochs_that_reach_the_target_count():
    found = accuracies(FAST, {5: 0.3, 10: 0.44, 15: 0.45, 30: 0.46})
    found |= accuracies(FREE, {64: 0.44, 80: 0.46})
    found |= accuracies(PGD7, {5: 0.4})
    assert needed(found) == {
        FAST: {EPOCHS_NEEDED: 15.0, PASSES_NEEDED: 30.0},
        FREE: {EPOCHS_NEEDED: 80.0, PASSES_NEEDED: 80.0},
        PGD7: {EPOCHS_NEEDED: None, PASSES_NEEDED: None},
    }


def test_published_figures_are_those_of_the_tables():
    assert [LINES[each][EPOCHS_NEEDED] for each in (FAST, FREE, PGD7)] == [15, 80, 10]
    assert LINES[named(PGD7, 40)]["robust_accuracy"] == 0.5069


@pytest.mark.parametrize("size", ["quick", "scaled", "published"])
def test_every_row_builds(size, tmp_path):
    rows = {row.name: row for row in REPRODUCTION.rows(REPRODUCTION.size(size))}
    epochs = {name: row.build(0, tmp_path).training.epochs for name, row in rows.items()}
    for name, count in epochs.items():
        replays = 8 if name.startswith(FREE) else 1
        assert name.endswith(f", {count * replays} epochs")


def test_the_claims_hold_on_the_published_figures_and_fail_on_others():
    assert [claim.judge(LINES) for claim in REPRODUCTION.claims] == [True, True]
    turned = LINES | {FAST: LINES[PGD7], PGD7: LINES[FREE]}
    turned |= {FREE: {EPOCHS_NEEDED: 9, PASSES_NEEDED: 18}}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False]
    never = LINES | {FREE: {EPOCHS_NEEDED: None, PASSES_NEEDED: None}}
    assert [claim.judge(never) for claim in REPRODUCTION.claims] == [None, None]
