from dataclasses import replace

import pytest
import torch

from holdfast.models import build_model
from holdfast.models.store import save_model
from holdfast.reproduce import REPRODUCTIONS
from holdfast.reproduce.computations import (
    Bench,
    ComputedRow,
    columns_of,
    computed,
    evaluated,
    lines_by_network,
)
from holdfast.reproduce.subjects import Place
from holdfast.reproduce.trainings import TrainedRow


@pytest.fixture
def bench(tmp_path):
    """A bench on the CPU."""
    place = Place(store=tmp_path)
    return Bench(place=place, images=7, seed=3, device=torch.device("cpu"))


def test_a_computation_is_kept(bench):
    calls = []

    def compute(found):
        calls.append(found.seed)
        return columns_of(size=[1.0, 2.0])

    row = ComputedRow(name="toy: size", computes="a size", compute=compute)
    first, again = computed(row, bench), computed(row, bench)
    assert first["figure.size"].tolist() == again["figure.size"].tolist() == [1, 2]
    assert calls == [3]
    computed(row, replace(bench, seed=4))
    assert calls == [3, 4]


def test_figures_of_a_network_join_its_line():
    columns = {"net": columns_of(a=1.0), "net: more": columns_of(b=[2.0, 4.0])}
    line = lines_by_network({}, columns)["net"]
    assert (line["a"], line["b"], round(line["b_spread"], 6)) == (1, 3, 1.414214)


def test_networks_of_earlier_rows_are_evaluated_by_seed(bench):
    row = TrainedRow(name="net", recipe="digits-standard", seeds=2)
    for seed in (3, 4):
        network = build_model("digits_conv", seed=seed)
        save_model(bench.folder(row, seed) / "checkpoints" / "best.safetensors", network)
    assert [seed for seed, _ in bench.networks(row)] == [3, 4]
    asked = evaluated(row, attacks=[], protocol=None)
    found = asked.compute(bench)["figure.autoattack_accuracy"]
    assert found.shape == (2,)
    for (_, network), share in zip(bench.networks(row), found, strict=True):
        data = bench.data("digits")
        right = network(data.inputs()).argmax(dim=1) == data.labels
        assert float(right.double().mean()) == pytest.approx(float(share))


def test_a_run_of_computations_has_a_page(quickly):
    entry = replace(
        REPRODUCTIONS["random-start-mnist"].load(),
        rows=lambda size: [
            ComputedRow(name="toy", computes="one number", compute=lambda _: columns_of(gap=0.5))
        ],
    )
    finding, kept = quickly(entry)
    assert finding.lines["toy"] == {"gap": 0.5}
    row = kept.read_result()["rows"][0]
    assert (row["computes"], row["figure.gap"]) == ("one number", [0.5])
    assert "what is computed" in kept.report_file.read_text()
