import pytest

from holdfast.core.catalogue import Catalogue, Entry
from holdfast.core.errors import InputError

PGD = Entry(name="pgd", target="math:pi", summary="many steps")
FGSM = Entry(name="fgsm", target="math:tau", summary="one step", source="2015", cost="1 + 1")
ATTACKS = Catalogue("attack", PGD, FGSM)


def test_entries_come_in_the_order_given():
    assert list(ATTACKS) == ["pgd", "fgsm"]
    assert list(ATTACKS.values()) == [PGD, FGSM]
    assert len(ATTACKS) == 2


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'pgd'") as caught:
        ATTACKS["pgdd"]
    assert caught.value.argument == "attack"


def test_membership_and_get_need_no_exception():
    assert "pgd" in ATTACKS
    assert "pgdd" not in ATTACKS
    assert 3 not in ATTACKS


def test_an_entry_loads_its_object():
    assert PGD.load() == pytest.approx(3.14159, abs=1e-5)


def test_a_name_stands_once():
    with pytest.raises(ValueError, match="twice"):
        Catalogue("attack", PGD, PGD)
