"""The state of a run as a snapshot, and back."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from holdfast.training import checkpoints

if TYPE_CHECKING:
    from holdfast.training.trainer import Trainer


def snapshot(trainer: "Trainer") -> checkpoints.Snapshot:
    """Everything that the next step depends on."""
    state, average = trainer.objective_state or {}, trainer.average
    snapshots = trainer.keeper.snapshots
    tensors: dict[str, dict[str, Tensor]] = {
        "model": trainer.network.state_dict(),
        "optimizer": checkpoints.optimizer_tensors(trainer.optimizer),
        "average": {} if average is None else average.network.state_dict(),
        "objective": {key: each for key, each in state.items() if isinstance(each, Tensor)},
        "memory": trainer.memory.tensors,
        "chosen": trainer.keeper.chosen,
        "watch": trainer.watch.tensors(),
        "snapshots": {} if snapshots is None else snapshots.tensors,
        "interval": trainer.interval.sums,
        "epoch": trainer.epoch.sums,
    }
    facts = {
        "done": trainer.done,
        "closed": trainer.closed,
        "stopped": trainer.stopped,
        **trainer.keeper.facts(),
        "watch": trainer.watch.facts(),
        "seconds": trainer.elapsed(),
        "history": trainer.history,
        "selector": trainer.selector.state(),
        "scaler": None if trainer.scaler is None else trainer.scaler.state_dict(),
        "updates": 0 if average is None else average.updates,
        "interval_rows": trainer.interval.rows,
        "epoch_rows": trainer.epoch.rows,
        **circumstances(trainer),
    }
    return checkpoints.Snapshot(tensors, facts)


def restore(trainer: "Trainer", saved: checkpoints.Snapshot) -> None:
    """Goes on from a snapshot of a run with the same recipe, on the same data.

    The objective's state is that of rank 0; other processes begin theirs anew.
    """
    facts, device = saved.facts, trainer.parts.world.device
    group: Mapping[str, dict[str, Tensor]] = saved.tensors
    trainer.network.load_state_dict(group.get("model", {}))
    checkpoints.restore_optimizer(trainer.optimizer, group.get("optimizer", {}))
    if trainer.average is not None:
        trainer.average.network.load_state_dict(group.get("average", {}))
        trainer.average.updates = facts["updates"]
    kept = {key: each.to(device) for key, each in group.get("objective", {}).items()}
    trainer.objective_state = kept if kept and trainer.parts.world.first else None
    trainer.memory.restore(group.get("memory", {}))
    trainer.interval.restore(group.get("interval", {}), facts["interval_rows"], device)
    trainer.epoch.restore(group.get("epoch", {}), facts["epoch_rows"], device)
    if trainer.scaler is not None:
        trainer.scaler.load_state_dict(facts["scaler"])
    trainer.selector.restore(facts["selector"])
    trainer.history, trainer.stopped = facts["history"], facts["stopped"]
    trainer.keeper.restore(facts, group.get("chosen", {}), group.get("snapshots", {}))
    trainer.watch.restore(facts["watch"], group.get("watch", {}), trainer.batch_before)
    trainer.set_out(done=facts["done"], closed=facts["closed"], seconds=facts["seconds"])


def circumstances(trainer: "Trainer") -> dict[str, Any]:
    """What the bits of a run depend on beside its recipe and data."""
    return {
        "threads": torch.get_num_threads(),
        "device": trainer.parts.world.device.type,
        "processes": trainer.parts.world.size,
    }
