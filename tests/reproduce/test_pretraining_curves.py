from holdfast.reproduce.pretraining_curves import AFTER, BEFORE, NAMES, REPRODUCTION
from reproduce.judged import builds, holds


def curves(old, new):
    """Lines whose robust accuracy goes from 0.5 by so much."""
    keys = ("old_robust_accuracy", "new_robust_accuracy")
    return {BEFORE + key: 0.5 for key in keys} | {
        AFTER + key: 0.5 + step for key, step in zip(keys, (old, new), strict=True)
    }


def test_claims_ask_for_forgetting_and_learning():
    lines = dict(zip(NAMES, (curves(-0.1, -0.1), curves(0, 0.1), curves(0, 0.1)), strict=True))
    assert holds(REPRODUCTION, lines) == [True] * 3
    lines = dict(zip(NAMES, (curves(0.1, 0.1), curves(0, -0.1), curves(0, 0.1)), strict=True))
    assert holds(REPRODUCTION, lines) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 18
    kept = {name: each.training.keep_every for (_, name), each in found.items()}
    assert {kept[name] for name in NAMES} == {1}
