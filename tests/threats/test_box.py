import pytest

from holdfast.core.errors import InputError
from holdfast.threats.box import as_box


def test_boxes_become_pairs_of_floats():
    assert as_box((0, 1)) == (0.0, 1.0)
    assert as_box([-1, "8/255"]) == (-1.0, 8 / 255)
    assert as_box(None) is None


@pytest.mark.parametrize("box", [(1, 1), (2, 1), (0, float("inf")), (0,), (0, 1, 2), 5, "ab"])
def test_other_boxes_are_refused(box):
    with pytest.raises(InputError, match=r"^box="):
        as_box(box)
