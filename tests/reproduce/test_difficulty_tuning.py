from holdfast.reproduce.difficulty_tuning import REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    published = REPRODUCTION.published
    assert published["SVHN, RW + KL, 5 passes"]["autoattack_accuracy"] == 0.7335
    assert published["CIFAR-10, no tuning"]["autoattack_accuracy"] == 0.5201


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 3
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 3


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 18
    row = found["published", "SVHN, RW + KL, 5 passes"]
    assert row.model.weights.endswith("svhn-no-tuning-0/checkpoints/best.safetensors")
    assert (row.data.extra.fraction, row.training.epochs) == (0.5, 37)
    assert found["published", "CIFAR-10, no tuning"].data.extra is None
