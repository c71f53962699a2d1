import torch

from holdfast.reproduce.computations import Bench
from holdfast.reproduce.gradalign_initialisation import REPRODUCTION, named
from holdfast.reproduce.records import line_per_row
from holdfast.reproduce.subjects import Place

# limit, B1 and B2 from 400,000 samples
KNOWN = {8.0: (0.9898, 0.9464, 0.724), 25.5: (0.9682, 0.8317, 0.510)}


def test_rows_compute_the_lemma_and_the_claims_hold(tmp_path):
    bench = Bench(place=Place(store=tmp_path), images=300, seed=0, device=torch.device("cpu"))
    rows = REPRODUCTION.rows(REPRODUCTION.size("quick"))
    lines = line_per_row({}, {row.name: row.compute(bench) for row in rows})
    for radius, known in KNOWN.items():
        found = [lines[named(radius)][key] for key in ("limit", "hoeffding", "lemma")]
        assert all(abs(one - other) < 0.02 for one, other in zip(found, known, strict=True))
    assert abs(lines[named(8.0)]["network"] - 0.988) < 0.01
    assert [claim.judge(lines) for claim in REPRODUCTION.claims] == [True, True]
    turned = {name: {key: 1 - each for key, each in line.items()} for name, line in lines.items()}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False]
