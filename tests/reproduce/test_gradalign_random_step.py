import torch

from holdfast.reproduce.computations import Bench
from holdfast.reproduce.gradalign_random_step import REPRODUCTION, STEPS, named
from holdfast.reproduce.records import line_per_row
from holdfast.reproduce.subjects import Place

# Lemma 1 per eps sqrt(d), at the steps of the entry
BOUNDS = (0.57735, 0.60165, 0.66144, 0.81650, 0.88829, 0.94648, 1.0)


def test_rows_compute_the_lemma_and_the_claims_hold(tmp_path):
    bench = Bench(place=Place(store=tmp_path), images=40, seed=0, device=torch.device("cpu"))
    rows = REPRODUCTION.rows(REPRODUCTION.size("quick"))
    lines = line_per_row({}, {row.name: row.compute(bench) for row in rows})
    for step, bound in zip(STEPS, BOUNDS, strict=True):
        assert abs(lines[named(step)]["bound"] - bound) < 1e-5
        assert abs(lines[named(step)]["mean_size"] - bound) < 2e-3
    assert [claim.judge(lines) for claim in REPRODUCTION.claims] == [True, True]
    longer = {
        name: {"mean_size": 2 - line["mean_size"], "bound": 0} for name, line in lines.items()
    }
    assert [claim.judge(longer) for claim in REPRODUCTION.claims] == [False, False]


def test_the_published_length_of_the_usual_step():
    assert REPRODUCTION.published[named(1.25)]["mean_size"] == 0.888
