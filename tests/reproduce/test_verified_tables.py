import math

import pytest

from holdfast.reproduce.verified_tables import (
    SEARCH,
    SEARCH_SETTINGS,
    TABLES,
    contradictions,
    inconsistencies,
    lines_of,
    radius_of,
)


def test_the_tables_are_those_that_were_printed():
    assert {name: len(rows) for name, rows in TABLES.items()}["MNIST FC1 linf 0.1"] == 11
    assert sum(len(rows) for rows in TABLES.values()) == 6 * 11 + 4 * 8
    line = lines_of("CIFAR10 CNN linf 2/255")["CIFAR10 CNN linf 2/255: L-PER+at"]
    assert (line["clean_error_rate"], line["exact_error_rate"]) == (0.2887, 0.4843)
    assert (line["linear_radius"], line["envelope_radius"]) == (0.0034, 0.004)
    line = lines_of("MNIST FC1 tanh l2 0.3")["MNIST FC1 tanh l2 0.3: I-PER"]
    assert (line["interval_error_rate"], line["interval_radius"]) == (0.4531, 0.1641)
    assert "exact_error_rate" not in line
    assert radius_of("CIFAR10 CNN linf 2/255") == 2 / 255


def test_the_search_table_has_a_figure_for_every_setting():
    assert {len(means) for means in SEARCH.values()} == {len(SEARCH_SETTINGS)}
    assert SEARCH["MMR"][3] == 5.86
    assert all(
        mean < halved
        for means in SEARCH.values()
        for mean, halved in zip(means, SEARCH_SETTINGS.values(), strict=True)
    )


def test_a_bisection_takes_the_looks_of_its_range_at_a_precision_of_1e_4():
    """linf to 0.4 and 0.1, l2 to 1.2 and 0.4, for MNIST and CIFAR-10 (sec 3.3.2)."""
    ranges = {"MNIST linf": 0.4, "CIFAR10 linf": 0.1, "MNIST l2": 1.2, "CIFAR10 l2": 0.4}
    for name, looks in SEARCH_SETTINGS.items():
        data, _, norm = name.split()
        assert looks == math.ceil(math.log2(ranges[f"{data} {norm}"] / 1e-4))


def test_the_printed_figures_contradict_each_other_in_ten_places():
    assert set(inconsistencies()) == {
        ("MNIST FC1 linf 0.1: AT", "exact error"),
        ("MNIST FC1 linf 0.1: I-PER+at", "linear radius"),
        ("MNIST CNN linf 0.1: AT", "exact error"),
        ("CIFAR10 CNN linf 2/255: AT", "exact error"),
        ("MNIST CNN l2 0.3: IBP", "linear radius"),
        ("CIFAR10 CNN l2 0.1: L-PER", "linear radius"),
        ("CIFAR10 CNN l2 0.1: I-PER+at", "linear radius"),
        ("MNIST FC1 sigmoid l2 0.3: at", "interval radius"),
        ("MNIST FC1 sigmoid l2 0.3: CROWN-IBP", "linear radius"),
        ("MNIST FC1 tanh l2 0.3: IBP", "interval radius"),
    }


@pytest.mark.parametrize(
    ("measure", "value", "what"),
    [
        ("linear_radius", 0.06, "linear radius"),
        ("interval_radius", 0.06, "interval radius"),
        ("envelope_radius", 0.04, "envelope radius"),
        ("envelope_radius", 0.1, "envelope radius"),
        ("pgd_error_rate", 0.01, "attacked error"),
        ("pgd_error_rate", 0.6, "attacked error"),
        ("exact_error_rate", 0.6, "exact error"),
    ],
)
def test_each_contradiction_is_found(measure, value, what):
    line = {
        "clean_error_rate": 0.05,
        "pgd_error_rate": 0.2,
        "linear_error_rate": 0.5,
        "interval_error_rate": 0.5,
        "exact_error_rate": 0.3,
        "linear_radius": 0.05,
        "interval_radius": 0.05,
        "envelope_radius": 0.07,
    }
    assert contradictions(line, 0.1) == []
    assert what in contradictions(line | {measure: value}, 0.1)
