import torch

from holdfast.reproduce.atas_regret import HORIZONS, REPRODUCTION, named
from holdfast.reproduce.computations import Bench
from holdfast.reproduce.records import line_per_row
from holdfast.reproduce.subjects import Place


def test_rows_compute_bounded_regrets(tmp_path):
    bench = Bench(place=Place(store=tmp_path), images=2, seed=0, device=torch.device("cpu"))
    rows = REPRODUCTION.rows(REPRODUCTION.size("quick"))
    lines = line_per_row({}, {row.name: row.compute(bench) for row in rows})
    assert len(lines) == 4
    assert REPRODUCTION.claims[0].judge(lines) is True
    turned = {name: {key: -each for key, each in line.items()} for name, line in lines.items()}
    assert REPRODUCTION.claims[0].judge(turned) is False


def test_the_gap_must_fall():
    gaps = {named(m, t): {"gap": t**-0.5} for m in ("SGDBCA", "ASGDBCA") for t in HORIZONS}
    assert REPRODUCTION.claims[1].judge(gaps) is True
    assert REPRODUCTION.claims[1].judge({k: {"gap": -v["gap"]} for k, v in gaps.items()}) is False
