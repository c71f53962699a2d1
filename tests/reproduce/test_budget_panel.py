import pytest

from holdfast.reproduce.budget_panel import PUBLISHED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    line = PUBLISHED["CIFAR-10 ResNet-18, periods, cosine"]
    assert (line["robust_accuracy"], line["apgd_ce_accuracy"]) == (0.5143, 0.5029)
    assert PUBLISHED["MNIST LeNet, constant"]["square_accuracy_spread"] == 0.0045
    assert PUBLISHED["CIFAR-10 VGG, linear"]["clean_accuracy"] == 0.7644


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 4
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 4


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 15
    both = found["published", "CIFAR-10 VGG, periods, linear"].training
    assert both.ensemble == "periods"
    assert [both.schedule(at) for at in (0.1, 0.4, 0.6)] == pytest.approx([0.01, 0.0001, 0.01])
    assert [both.radius_schedule(epoch / 200) for epoch in (51, 126, 176)] == [1.0, 1.0, 1.0]
    assert [both.radius_schedule(epoch / 200) for epoch in (1, 101, 151)] == [0.0, 0.0, 0.0]
    assert found["published", "MNIST LeNet, linear"].training.radius_schedule(0.5) < 1
