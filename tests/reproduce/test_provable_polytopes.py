import pytest
import torch

from holdfast.reproduce.computations import Bench
from holdfast.reproduce.provable_polytopes import RADII, REPRODUCTION, named
from holdfast.reproduce.records import Finding, line_per_row
from holdfast.reproduce.subjects import Place


@pytest.mark.slow
def test_ratios_are_at_least_one_and_ordered(tmp_path):
    bench = Bench(place=Place(store=tmp_path), images=1, seed=3, device=torch.device("cpu"))
    size = REPRODUCTION.size("quick")
    columns = {row.name: row.compute(bench) for row in REPRODUCTION.rows(size)}
    lines = line_per_row({}, columns)
    for eps in RADII:
        line = lines[named(eps)]
        assert 1 <= line["crown_over_true"] <= line["dual_over_true"] * 1.05
        assert line["interval_over_true"] > 30
    assert lines[named(0.05)]["dual_over_true"] < 2.1
    figure = REPRODUCTION.draw(Finding(outcomes={}, lines=lines, columns=columns, size=size), None)
    assert [len(axes.lines) for axes in figure.axes] == [3, 3, 3]


def lines_of(dual, interval):
    return {
        named(eps): {"dual_over_true": one, "interval_over_true": other}
        for eps, one, other in zip(RADII, dual, interval, strict=True)
    }


def test_claims_hold_where_they_were_verified_and_fail_reversed():
    told = lines_of((1.17, 1.47, 2.27), (218, 194, 203))
    assert [claim.judge(told) for claim in REPRODUCTION.claims] == [True, True]
    turned = lines_of((2.27, 1.47, 1.17), (2, 2, 2))
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False]


def test_the_published_interval_is_that_of_the_text():
    true = (1.85 - 1.81, -1.29 + 1.33)
    interval = (13.47 + 11.68, 11.48 + 16.36)
    ratio = sum(one / other for one, other in zip(interval, true, strict=True)) / 2
    published = REPRODUCTION.published[named(0.05)]["interval_over_true"]
    assert published == pytest.approx(ratio, rel=1e-3)
