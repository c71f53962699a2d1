import pytest
import torch

from holdfast.reproduce.computations import Bench
from holdfast.reproduce.provable_plane import EPS, REPRODUCTION, ROBUST, SIDE, STANDARD
from holdfast.reproduce.records import Finding, line_per_row
from holdfast.reproduce.subjects import Place


def bench(folder):
    return Bench(place=Place(store=folder), images=12, seed=0, device=torch.device("cpu"))


@pytest.mark.slow
def test_the_quick_size_measures_both_and_draws(tmp_path):
    size = REPRODUCTION.size("quick")
    columns = {row.name: row.compute(bench(tmp_path)) for row in REPRODUCTION.rows(size)}
    lines = line_per_row({}, columns)
    assert set(lines) == {STANDARD, ROBUST}
    assert REPRODUCTION.claims[2].judge(lines) is True
    assert columns[ROBUST]["regions"].shape == (SIDE, SIDE)
    x = columns[ROBUST]["points"]
    apart = (x.unsqueeze(1) - x).abs().amax(2) + torch.eye(len(x))
    assert (apart >= 2 * EPS).all()
    finding = Finding(outcomes={}, lines=lines, columns=columns, size=size)
    figure = REPRODUCTION.draw(finding, REPRODUCTION)
    assert [len(axes.patches) for axes in figure.axes] == [12, 12]


def test_claims_are_those_of_the_figure():
    good = {"clean_accuracy": 1.0, "uncrossed_accuracy": 1.0, "certified_accuracy": 1.0}
    crossed = good | {"uncrossed_accuracy": 0.5, "certified_accuracy": 0.4}
    told = {ROBUST: good, STANDARD: crossed}
    assert [claim.judge(told) for claim in REPRODUCTION.claims] == [True, True, True]
    turned = {STANDARD: good, ROBUST: crossed}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False, True]
    impossible = {STANDARD: crossed, ROBUST: good | {"uncrossed_accuracy": 0.9}}
    assert REPRODUCTION.claims[2].judge(impossible) is False
