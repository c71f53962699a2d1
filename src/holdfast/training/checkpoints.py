"""Checkpoints of a training run: everything that the next step depends on, in one file.

`last.safetensors` holds tensors (weights, optimiser, average, the objective's state, the chosen
weights) and, as JSON in its metadata, the rest (position, history, scaler, best so far). One file,
written atomically, cannot be half of one state and half of another. Nothing is pickled.
`best.safetensors` holds the chosen weights alone, in the form of every saved model, and so does
`epoch-NNN.safetensors` those after an epoch that is kept for good.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import InputError
from holdfast.models.weights import read_tensors, weights_hash, write_tensors

FORMAT = "holdfast-training/1"
LAST, BEST = "last.safetensors", "best.safetensors"


def epoch_file(folder: Path, epoch: int) -> Path:
    """The file of the weights that are kept after an epoch."""
    return folder / f"epoch-{epoch:03d}.safetensors"


@dataclass
class Snapshot:
    """The state of a training run.

    Args:
        tensors: by group: `model`, `optimizer`, `average`, `objective`, `chosen`, and sums.
        facts: plain data.
    """

    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def save(path: Path, snapshot: Snapshot) -> None:
    """Writes the snapshot; the file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    flat = {
        f"{group}/{name}": tensor
        for group, tensors in snapshot.tensors.items()
        for name, tensor in tensors.items()
    }
    state = json.dumps(snapshot.facts, sort_keys=True)
    write_tensors(path, flat, {"format": FORMAT, "state": state, "sha256": _digest(flat, state)})


def load(path: Path) -> Snapshot:
    """Reads a snapshot, on the CPU.

    Raises:
        InputError: no checkpoint of training, damaged, or of another version.
    """
    remedy = "start again in a new run"
    try:
        flat, texts = read_tensors(path)
    except InputError as error:
        raise InputError("checkpoint", str(path), error.problem, remedy) from error
    if texts.get("format") != FORMAT:
        problem = f"is of the format {texts.get('format')!r}, not {FORMAT!r}"
        raise InputError("checkpoint", str(path), problem, remedy)
    if texts.get("sha256") != _digest(flat, texts.get("state", "")):
        raise InputError("checkpoint", str(path), "is damaged", remedy)
    snapshot = Snapshot(facts=json.loads(texts["state"]))
    for key, tensor in flat.items():
        group, _, name = key.partition("/")
        snapshot.tensors.setdefault(group, {})[name] = tensor
    return snapshot


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state, by `parameter.name`; its hyperparameters are the recipe's."""
    states: Mapping[int, Mapping[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, state in states.items()
        for name, value in state.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Gives an optimiser of the same kind and parameters its state back."""
    states: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        states.setdefault(int(number), {})[name] = tensor.clone()  # the optimiser writes into it
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": states, "param_groups": groups})


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    return hashlib.sha256(f"{weights_hash(tensors)} {state}".encode()).hexdigest()
