from holdfast.reproduce.atas_loss import LOSS, METHODS, REPRODUCTION, named
from reproduce.judged import builds, holds

LINES = {named(method, 8): {LOSS: 2.0 - at} for at, method in enumerate(METHODS)}


def test_the_claim_asks_for_the_lowest_loss_at_radii_that_ran():
    assert holds(REPRODUCTION, LINES) == [True]
    assert holds(REPRODUCTION, {name: {LOSS: -line[LOSS]} for name, line in LINES.items()}) == [
        False
    ]
    assert holds(REPRODUCTION, {"FGSM-RS, 8/255": {LOSS: 1.0}}) == [None]


def test_every_row_builds(tmp_path):
    found = builds(REPRODUCTION, tmp_path)
    assert len(found) == 4 + 4 + 12
    assert found["published", "ATAS, 16/255"].threat == "linf:16/255"
    assert {recipe.training.keep_every for recipe in found.values()} == {1}
