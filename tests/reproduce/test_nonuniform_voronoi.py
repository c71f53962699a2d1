import pytest
import torch

from holdfast.reproduce.computations import Bench
from holdfast.reproduce.nonuniform_voronoi import LINE, REPRODUCTION
from holdfast.reproduce.records import Finding, line_per_row
from holdfast.reproduce.subjects import Place


@pytest.mark.slow
def test_the_quick_size_finds_larger_regions_and_draws(tmp_path):
    bench = Bench(place=Place(store=tmp_path), images=3, seed=0, device=torch.device("cpu"))
    size = REPRODUCTION.size("quick")
    columns = {row.name: row.compute(bench) for row in REPRODUCTION.rows(size)}
    lines = line_per_row({}, columns)
    assert lines[LINE]["shares_ratio"] >= 0.999
    assert columns[LINE]["boxes.uniform"].shape == (3, 2)
    finding = Finding(outcomes={}, lines=lines, columns=columns, size=size)
    figure = REPRODUCTION.draw(finding, REPRODUCTION)
    assert len(figure.axes) == 2


def test_claims_are_about_the_ratios():
    good = {LINE: {"ratio": 1.2, "shares_ratio": 1.3, "larger_rate": 1.0}}
    assert all(claim.judge(good) for claim in REPRODUCTION.claims)
    bad = {LINE: {"ratio": 0.9, "shares_ratio": 0.9, "larger_rate": 0.5}}
    assert not any(claim.judge(bad) for claim in REPRODUCTION.claims)
