import torch

from holdfast.reproduce.nonuniform_maps import CLASSES, REPRODUCTION, ROBUST, VANILLA
from holdfast.reproduce.records import Finding
from holdfast.reproduce.trainings import TrainedRow


def test_networks_learn_two_classes_and_one_is_robust(tmp_path):
    trained = [
        row for row in REPRODUCTION.rows(REPRODUCTION.size("scaled")) if isinstance(row, TrainedRow)
    ]
    recipes = [row.build(0, tmp_path) for row in trained]
    assert [each.data.sample.classes for each in recipes] == [CLASSES, CLASSES]
    kinds = [type(each.objective).__name__ for each in recipes]
    assert kinds[0] != kinds[1]


def test_claims_compare_robust_with_vanilla():
    low = {"mean_radius": 0.03, "cosine": 0.95, "tail_rate": 0.1}
    high = {"mean_radius": 0.1, "cosine": 0.99, "tail_rate": 0.5}
    assert all(claim.judge({ROBUST: high, VANILLA: low}) for claim in REPRODUCTION.claims)
    assert not any(claim.judge({ROBUST: low, VANILLA: high}) for claim in REPRODUCTION.claims)


def test_the_figure_has_a_row_for_each_image():
    size = REPRODUCTION.size("quick")
    pictures = {"images": torch.zeros(4, 1, 8, 8), "maps": torch.ones(4, 1, 8, 8)}
    columns = {f"{kind}: maps": pictures for kind in (VANILLA, ROBUST)}
    finding = Finding(outcomes={}, lines={}, columns=columns, size=size)
    assert len(REPRODUCTION.draw(finding, REPRODUCTION).axes) == 12
