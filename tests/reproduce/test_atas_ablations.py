import torch

from holdfast.reproduce.atas_ablations import PLAIN, RATIO, REPRODUCTION, SUM, VARIANTS, with_ratio
from reproduce.judged import builds, holds


def test_claims_ask_for_equal_reductions_and_bounded_ratios():
    lines = {name: {"pgd50_accuracy": 0.3, RATIO: 1.1} for name in VARIANTS}
    assert holds(REPRODUCTION, lines) == [True, True]
    lines |= {SUM: {"pgd50_accuracy": 0.4, RATIO: 1.2}}
    assert holds(REPRODUCTION, lines) == [False, False]


def test_lines_have_the_last_ratio():
    ratio = {"history.gradient-norms.ratio": torch.tensor([[0.5, 0.8], [0.5, 1.0]])}
    assert abs(with_ratio({}, {PLAIN: ratio})[PLAIN][RATIO] - 0.9) < 1e-6


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 3 * len(VARIANTS)
    assert found["published", "no new starts"].objective.reset is None
    assert found["published", "C = 0.1"].objective.offset == 0.1
