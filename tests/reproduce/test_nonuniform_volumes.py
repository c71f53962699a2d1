import pytest
import torch

from holdfast.reproduce.nonuniform_volumes import REPRODUCTION, ROBUST, VANILLA, named
from holdfast.reproduce.records import Finding
from holdfast.reproduce.trainings import TrainedRow


def swapped(lines):
    """The figures of vanilla and robust networks exchanged."""
    other = {VANILLA: ROBUST, ROBUST: VANILLA}
    return {
        name: lines[name.rpartition(" ")[0] + " " + other[name.rpartition(" ")[2]]]
        for name in lines
    }


def test_published_figures_are_those_of_the_tables():
    line = REPRODUCTION.published[named("svhn", 1024, ROBUST)]
    assert (line["nonuniform_radius"], line["ratio"], line["least_cosine"]) == (
        0.0281,
        5.204,
        0.9339,
    )
    for each in REPRODUCTION.published.values():
        quotient = each["nonuniform_radius"] / each["uniform_radius"]
        assert each["ratio"] == pytest.approx(quotient, abs=0.09)


def test_claims_hold_on_the_published_figures_and_fail_reversed():
    told = {name: dict(each) for name, each in REPRODUCTION.published.items()}
    assert [claim.judge(told) for claim in REPRODUCTION.claims] == [True] * 5
    turned = swapped(told)
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [True] + [False] * 4
    shrunk = {name: each | {"ratio": 0.9} for name, each in told.items()}
    assert REPRODUCTION.claims[0].judge(shrunk) is False


def test_the_published_size_has_all_networks_and_radii_of_the_unit_range():
    rows = REPRODUCTION.rows(REPRODUCTION.size("published"))
    trained = [row for row in rows if isinstance(row, TrainedRow)]
    assert [row.name for row in trained] == list(REPRODUCTION.published)
    assert {row.changes["threat"] for row in trained} == {"linf:0.05"}


def test_histograms_have_a_panel_for_each_network():
    size = REPRODUCTION.size("quick")
    columns = {
        named("digits", 20, kind) + ": regions": {"radii": torch.linspace(0.01, top, 64)}
        for kind, top in ((VANILLA, 0.05), (ROBUST, 0.3))
    }
    finding = Finding(outcomes={}, lines={}, columns=columns, size=size)
    figure = REPRODUCTION.draw(finding, REPRODUCTION)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "digits, 20"
    assert [each.get_text() for each in axes.get_legend().get_texts()] == [VANILLA, ROBUST]
