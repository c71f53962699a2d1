"""Attacks by name."""

import pytest

from holdfast.attacks import (
    APGD,
    ATTACKS,
    FAB,
    FGSM,
    PGD,
    CarliniWagner,
    NoiseSearch,
    Square,
    apgd_t,
    as_attacks,
    fab_t,
    fgsm_rs,
    name_of,
    parse,
    r_fgsm,
)
from holdfast.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "attack"),
    [
        ("fgsm", FGSM()),
        ("fgsm-rs", fgsm_rs()),
        ("r-fgsm", r_fgsm()),
        ("pgd-50-10", PGD(steps=50, restarts=10)),
        ("pgd-7-2-0.01", PGD(steps=7, restarts=2, step_size=0.01)),
        ("pgd-7-2-8/255", PGD(steps=7, restarts=2, step_size=8 / 255)),
        ("pgd-7-2-eps/4", PGD(steps=7, restarts=2, step_size="eps/4")),
        ("apgd-ce", APGD()),
        ("apgd-ce-30", APGD(steps=30)),
        ("apgd-t-3-20", apgd_t(20, 3)),
        ("apgd-t", apgd_t()),
        ("square-1000", Square(queries=1000)),
        ("fab-7", FAB(steps=7)),
        ("fab-t", FAB(targeting="multi")),
        ("fab-t-7", fab_t(7)),
        ("noise-10", NoiseSearch(samples=10)),
    ],
)
def test_names_read_and_written(text, attack):
    assert parse(text) == attack
    assert parse(name_of(attack)) == attack


@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_of_the_catalogue_is_read_and_written(name):
    attack = parse(name)
    assert name_of(attack) == ("pgd-50-10" if name == "pgd" else name)
    assert parse(name_of(attack)) == attack


@pytest.mark.parametrize("name", [name for name in ATTACKS if "by name" in ATTACKS[name].summary])
def test_budgets_that_are_announced_are_read_and_written(name):
    form = ATTACKS[name].summary.partition("by name ")[2].partition("[")[0]
    text = "-".join("7" if part.isupper() else part for part in form.split("-"))
    assert text != form
    assert name_of(parse(text)) == text


def test_other_settings_have_no_name_but_their_repr():
    assert name_of(Square(p_init=0.3)) == repr(Square(p_init=0.3))
    assert name_of(CarliniWagner(iterations=5)).startswith("CarliniWagner(")


@pytest.mark.parametrize(
    "text",
    [
        "pgdd-5-1",
        "pgd-x-1",
        "pgd-0-1",
        "pgd-5-0",
        "pgd-5-1-zero",
        "autoattak",
        "pgd-5-1--2",
        "apgd-ce-0",
        "apgd-t-3",
        "square-0",
        "cw-5",
        "spatial-grid-3",
        "transfer",
    ],
)
def test_what_is_no_attack(text):
    with pytest.raises(InputError):
        parse(text)


def test_suggestion():
    with pytest.raises(InputError, match="did you mean 'fgsm'"):
        parse("fgms")


def test_lists():
    named = as_attacks("fgsm, pgd-2-1")
    assert list(named) == ["fgsm", "pgd-2-1"]
    assert list(as_attacks(PGD(steps=3, restarts=1))) == ["pgd-3-1"]
    assert as_attacks("") == {}
    with pytest.raises(InputError, match="no attack"):
        as_attacks([42])
