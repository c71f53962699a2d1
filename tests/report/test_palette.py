import pytest

from holdfast.report.palette import DARK, LIGHT, SERIES, contrast, series

TEXT = ("ink", "muted", "broken", "certified", "misclassified", *SERIES)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_lines_are_readable(scheme):
    for role in TEXT:
        assert contrast(scheme[role], scheme["paper"]) >= 4.5, role
    assert contrast(scheme["muted"], scheme["card"]) >= 4.5
    assert contrast(scheme["undecided"], scheme["card"]) >= 3


def test_each_colour_stands_for_one_role():
    assert len(set(LIGHT.values())) == len(LIGHT)
    assert LIGHT.keys() == DARK.keys()
    assert series(7) == SERIES[1]
