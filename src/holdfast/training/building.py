"""The network that a recipe names, built for its data, with the weights it starts from."""

import inspect
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.data.images import ImageData
from holdfast.models.catalogue import MODELS
from holdfast.models.normalize import Normalized
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights, read_weights
from holdfast.runs.atomic import shown
from holdfast.runs.directory import Run
from holdfast.training.recipe import ModelSpec


def build_for(spec: ModelSpec, data: ImageData, seed: int) -> nn.Module:
    """The network of a recipe, for these data: input shape and classes where its constructor takes
    them and the recipe does not say; with the weights of `spec.weights`.

    Raises:
        InputError: an unknown network, an option or weights that do not fit.
    """
    known = {"input_shape": data.shape, "classes": data.classes}
    if ":" not in spec.name:
        taken = inspect.signature(MODELS[spec.name].load()).parameters
        known = {key: value for key, value in known.items() if key in taken}
    else:
        known = {}
    network = build_model(spec.name, seed=seed, normalize=spec.normalize, **known | spec.options)
    if spec.weights is not None:
        start_from(network, spec.weights, new_head=spec.head == "new")
    return network


def start_from(
    network: nn.Module, source: str | os.PathLike[str], *, new_head: bool = False
) -> None:
    """Loads the weights of a training run or a file into a network.

    Args:
        network: of the same architecture, but for the number of classes with `new_head`.
        new_head: leave the last linear layer as it is.

    Guarantee: all buffers (batch norm's statistics) come with the weights.

    Raises:
        InputError: nothing there, weights that do not fit, another number of classes without
            `new_head`.
    """
    path = Path(source).expanduser()
    file = checkpoint_of(path) if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        remedy = "give a training run or a .safetensors file"
        raise InputError("model.weights", shown(path), "is no such thing", remedy)
    weights = dict(read_weights(file)[0])
    target = network
    if isinstance(network, Normalized) and weights.keys() == network.net.state_dict().keys():
        target = network.net
    name, head = last_linear(target)
    found = weights.get(f"{name}.weight")
    if new_head:
        own = target.state_dict()
        weights |= {key: own[key] for key in weights if key.startswith(f"{name}.")}
        _fill(target, weights, path)
        return
    if found is not None and found.shape[0] != head.out_features:
        problem = f"has {found.shape[0]} classes, the data have {head.out_features}"
        raise InputError("model.weights", shown(path), problem, "set model.head = 'new'")
    load_weights(network, file)


def last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """The last linear layer of a network, in the order of its modules, with its name.

    Raises:
        InputError: there is none.
    """
    found = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Linear)]
    if not found:
        kind = type(network).__name__
        raise InputError("model", kind, "has no linear layer", "load the weights yourself")
    return found[-1]


def checkpoint_of(folder: Path) -> Path:
    """The file of the chosen weights of a training run.

    Raises:
        InputError: no run directory, or one without a checkpoint.
    """
    file = Run.open(folder).checkpoints / "best.safetensors"
    if not file.is_file():
        remedy = "give a run of `holdfast train` that has finished an epoch"
        raise InputError("model", shown(folder), "holds no checkpoint", remedy)
    return file


def _fill(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    own = network.state_dict()
    wrong = [
        key
        for key in own.keys() | weights.keys()
        if key not in own or key not in weights or own[key].shape != weights[key].shape
    ]
    if wrong:
        problem = f"does not fit the model at {min(wrong)}"
        remedy = "name the network and the options that it was trained with"
        raise InputError("model.weights", shown(path), problem, remedy)
    with torch.no_grad():
        network.load_state_dict(weights)
