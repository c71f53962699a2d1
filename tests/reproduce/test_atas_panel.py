from holdfast.reproduce.atas_panel import PUBLISHED, REPRODUCTION
from reproduce.judged import builds, holds, mirrored


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED["ATAS, CIFAR-10, ResNet-18"]["autoattack_accuracy"] == 0.4538
    assert PUBLISHED["FGSM-GA, CIFAR-100, WRN-28-10"]["pgd50_accuracy"] == 0.2456
    assert PUBLISHED["YOPO, ImageNet, ResNet-50"]["clean_accuracy"] == 0.5568
    assert "FGSM-GA, ImageNet, ResNet-50" not in PUBLISHED


def test_claims_hold_on_the_published_figures_and_fail_on_mirrored_ones():
    assert holds(REPRODUCTION) == [True] * 9
    assert holds(REPRODUCTION, mirrored(REPRODUCTION)) == [False] * 9


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len([size for size, _ in found if size == "published"]) == 40
    assert found["published", "FreeAT, CIFAR-10, ResNet-18"].training.epochs == 10
    assert found["published", "YOPO, ImageNet, ResNet-18"].training.epochs == 36
    assert found["published", "FGSM-GA, CIFAR-100, WRN-28-10"].objective.weight == 0.5
    assert found["published", "ATAS, ImageNet, ResNet-50"].model.name == "resnet50"
