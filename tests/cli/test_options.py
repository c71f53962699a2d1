"""Texts of shared options."""

import pytest

from holdfast.cli.options import check_common, device, numbers, statistics
from holdfast.core.errors import InputError


def test_numbers_are_separated_by_commas_and_may_be_ratios():
    assert numbers("0.1, 8/255,", "radii") == (0.1, 8 / 255)
    assert numbers(None, "radii") == ()
    with pytest.raises(InputError, match="radii='x'"):
        numbers("0.1,x", "radii")


def test_statistics_are_one_number_or_one_per_channel():
    assert statistics(("0.1,0.2", "1/2")) == ((0.1, 0.2), (0.5,))
    assert statistics(None) is None
    with pytest.raises(InputError, match="MEAN STD"):
        statistics(("", "1"))


def test_auto_leaves_the_device_open():
    assert device("auto") is None
    assert device("cuda:1") == "cuda:1"


@pytest.mark.parametrize("wrong", [{"seed": 2**63}, {"threads": 0}, {"dtype": "bf16"}])
def test_values_that_no_verb_takes_are_refused(wrong):
    check_common(seed=0, threads=2)
    with pytest.raises(InputError, match=next(iter(wrong))):
        check_common(**({"seed": None} | wrong))
