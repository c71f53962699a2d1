import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.gradalign import gradalign_weight

TABLE = {
    "cifar10": "0.03 0.04 0.05 0.06 0.08 0.11 0.15 0.20 0.27 0.36 0.47 0.63 0.84 1.12 1.50 2.00",
    "svhn": "1.66 1.76 1.86 1.98 2.10 2.22 2.36 2.50 2.65 2.81 2.98 3.16 3.35 3.56 3.77 4.00",
}
FORMS = {"cifar10": lambda n: 0.02 * 10 ** (n / 8), "svhn": lambda n: 1.5625 * 1.6 ** (n / 8)}


@pytest.mark.parametrize("data", TABLE)
def test_it_rounds_to_every_cell_of_table_2_2(data):
    for n, cell in enumerate(TABLE[data].split(), start=1):
        assert f"{gradalign_weight(n / 255, data):.2f}" == cell
        assert gradalign_weight(n / 255, data) == pytest.approx(FORMS[data](n), rel=1e-12)


def test_other_pairs_of_weights_are_met():
    assert gradalign_weight(8 / 255, (0.5, 3.0)) == pytest.approx(0.5)
    assert gradalign_weight(16 / 255, (0.5, 3.0)) == pytest.approx(3.0)
    assert gradalign_weight(12 / 255, (1.0, 4.0)) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("radius", "data"), [(0.1, "cifar"), (-1, "svhn"), (0.1, (0.0, 1.0)), (float("nan"), "svhn")]
)
def test_what_it_cannot_use_is_refused(radius, data):
    with pytest.raises(InputError):
        gradalign_weight(radius, data)
