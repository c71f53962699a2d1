import torch

from holdfast.training import checkpoints
from holdfast.training.interrupts import Interrupts
from holdfast.training.resuming import circumstances, restore, snapshot
from training.test_trainer import trainer
from training.tiny import network, recipe, weights


def test_a_snapshot_carries_the_whole_state(tmp_path):
    objective = {"kind": "fgsm-rs", "start": "previous"}
    what = recipe(objective, training={"average": 0.8})
    first = trainer(what, network(norm=True))
    with torch.random.fork_rng():
        for _ in range(7):
            first._step()
    checkpoints.save(tmp_path / "last.safetensors", snapshot(first))
    second = trainer(what, network(seed=1, norm=True))
    restore(second, checkpoints.load(tmp_path / "last.safetensors"))
    assert second.done == 7
    with torch.random.fork_rng(), Interrupts() as interrupts:
        first.closed = second.closed = 1
        first.run(interrupts)
        second.run(interrupts)
    assert torch.equal(weights(first.network), weights(second.network))
    assert torch.equal(weights(first.average.network), weights(second.average.network))
    assert torch.equal(first.objective_state["previous"], second.objective_state["previous"])
    assert first.history == second.history


def test_what_is_no_tensor_is_made_anew():
    first = trainer(recipe("interval"), network())
    with torch.random.fork_rng():
        first._step()
    saved = snapshot(first)
    assert "graph" in first.objective_state
    assert saved.tensors["objective"] == {}
    second = trainer(recipe("interval"), network(seed=2))
    restore(second, saved)
    assert second.objective_state is None
    with torch.random.fork_rng():
        first._step()
        second._step()
    assert torch.equal(weights(first.network), weights(second.network))


def test_circumstances_are_what_bits_depend_on():
    found = circumstances(trainer(recipe(), network()))
    assert found == {"threads": torch.get_num_threads(), "device": "cpu", "processes": 1}
