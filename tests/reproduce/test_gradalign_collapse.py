import torch

from holdfast.reproduce.gradalign_collapse import PUBLISHED, REPRODUCTION, SEEN, before_and_after
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_text():
    assert PUBLISHED["FGSM, before"]["pgd_accuracy"] == 0.401
    assert PUBLISHED["FGSM, after"] == {
        "fgsm_accuracy": 0.867,
        "pgd_accuracy": 0,
        "alignment": 0.05,
    }


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 3
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 3


def test_the_lines_split_at_the_largest_fall():
    curve = {"history." + seen: torch.tensor([[0.1, 0.4, 0.0, 0.1]]) for seen in SEEN.values()}
    lines = before_and_after({}, {"FGSM": curve | {"figure.robust_accuracy": torch.zeros(1)}})
    assert abs(lines["FGSM, before"]["pgd_accuracy"] - 0.4) < 1e-6
    assert abs(lines["FGSM, after"]["alignment"] - 0.1) < 1e-6
    assert lines["FGSM"]["collapse_epoch"] == 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 9
    assert len(found["scaled", "FGSM"].training.monitors) == 2
