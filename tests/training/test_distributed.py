import subprocess
import sys
from pathlib import Path

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.training import train
from holdfast.training.distributed import World, batch_norm_note, joined, synchronised
from training.tiny import examples, network, recipe, weights

CPU = torch.device("cpu")


def test_alone_there_is_nothing_to_join():
    with joined(CPU) as world:
        assert world == World(0, 1, CPU)
    rows = torch.arange(5)
    assert world.part(rows) == (rows, 1.0)
    assert world.wrapped(network()) is not None
    assert world.total(torch.ones(2)).tolist() == [1, 1]


@pytest.mark.parametrize("count", [1, 2, 5, 7, 8])
def test_parts_cover_a_batch_and_their_factors_make_the_mean(count):
    rows, values = torch.arange(count), torch.rand(count, dtype=torch.float64)
    parts = [World(rank, 3, CPU).part(rows) for rank in range(3)]
    averaged = sum(factor * values[part].mean() for part, factor in parts) / 3
    assert averaged == pytest.approx(float(values.mean()))
    kept = torch.cat([part for part, factor in parts if factor])
    assert torch.equal(kept.sort()[0], rows)


def test_several_processes_need_a_launcher(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match="torchrun"), joined(CPU):
        pass


def test_the_policy_of_batch_norm_is_recorded():
    alone, two = World(0, 1, CPU), World(0, 2, CPU)
    assert batch_norm_note(network(), "local", two) == "none"
    assert batch_norm_note(network(norm=True), "local", alone) == "one process"
    assert batch_norm_note(network(norm=True), "local", two) == "local"
    with pytest.raises(InputError, match="needs CUDA"):
        synchronised(network(norm=True), "sync", two)
    net = network()
    assert synchronised(net, "sync", two) is net


SHIFTED = {"validation": 6, "augment": [{"kind": "pad-crop", "padding": 1}, "flip"]}
LONGER = {"data": SHIFTED, "training": {"epochs": 4}}
CASES = {
    "standard": {"objective": "standard"},
    "fgsm-rs": {"objective": "fgsm-rs"},
    "interval": {"objective": "interval"},
    "yopo": {"objective": {"kind": "yopo", "rounds": 2, "inner": 2}},
    "trades": {"objective": {"kind": "trades", "steps": 2}},
    "grad-align": {"objective": "grad-align"},
    "atta": {"objective": {"kind": "atta", "reset": 3}, **LONGER},
    "atas": {"objective": {"kind": "atas", "warmup": 1, "reset": 3}, **LONGER},
}
"""Objectives that several processes train alike; the last two remember each example."""

WORK = """
import os, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from holdfast.runs import Run
from holdfast.training import train
from holdfast.training.distributed import joined, leave
from training.test_distributed import CASES
from training.tiny import examples, network, recipe, weights

def threads():
    return sorted(each.read_text().strip() for each in Path("/proc/self/task").glob("*/comm"))

rank, alone = int(os.environ["RANK"]), threads()
for name, changes in CASES.items():
    out = sys.argv[2] + "/" + name
    if rank == 0:
        run = Run.create("train", "tiny", "noise", path=out)
    with joined(torch.device("cpu")):
        torch.distributed.barrier()
    given = {"data": examples(29), "model": network(), "run": Run.open(out)}
    result = train(recipe(**changes), device="cpu", **given)
    torch.save((weights(result.model), result.history[-1]["loss"], result.batch_norm),
               f"{out}-{rank}.pt")
together = threads()
leave()
torch.save((alone, together, threads()), f"{sys.argv[2]}/threads-{rank}.pt")
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(WORK)
    root = str(__file__).rsplit("/training/", 1)[0]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, script, root, tmp_path], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):  # no thread of the library outlives the meeting
        alone, together, after = torch.load(tmp_path / f"threads-{rank}.pt")
        assert after == alone
        assert not Path("/proc/self/task").exists() or any("gloo" in each for each in together)
    for name, changes in CASES.items():
        one = train(recipe(**changes), data=examples(29), model=network(), device="cpu")
        found = [torch.load(tmp_path / f"{name}-{rank}.pt") for rank in (0, 1)]
        assert torch.equal(found[0][0], found[1][0]), name
        assert torch.allclose(found[0][0], weights(one.model), atol=2e-5), name
        assert found[0][1] == pytest.approx(one.history[-1]["loss"], rel=1e-4)
        assert found[0][2] == "none"
        assert (tmp_path / name / "checkpoints" / "last.safetensors").is_file()
