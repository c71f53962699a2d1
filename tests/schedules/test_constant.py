import pytest

from holdfast.core.errors import InputError
from holdfast.schedules.constant import Constant


def test_it_does_not_change():
    assert {Constant(value="8/255")(t / 10) for t in range(11)} == {8 / 255}


@pytest.mark.parametrize("progress", [-1e-9, 1.0000001, float("nan")])
def test_progress_outside_training_is_refused(progress):
    with pytest.raises(InputError) as caught:
        Constant(value=1)(progress)
    assert caught.value.argument == "progress"
