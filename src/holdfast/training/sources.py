"""Which model is meant: an object, a registered name, `package.module:factory`, a training run, or
a `.safetensors` file.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from holdfast.core.errors import InputError, described, unknown_name
from holdfast.core.frozen import Model, device_of
from holdfast.data.images import ImageData
from holdfast.models.normalize import STATISTICS, Normalize, Normalized
from holdfast.models.registry import Statistics
from holdfast.models.store import load_model, load_weights
from holdfast.runs.atomic import Pathlike, shown
from holdfast.runs.directory import Run
from holdfast.training.building import build_for, checkpoint_of
from holdfast.training.recipe import ModelSpec

__all__ = ["Source", "checkpoint_of", "placed", "resolve"]


@dataclass(frozen=True)
class Source:
    """A model with what it is called and where it comes from.

    Args:
        model: the module or callable.
        name: for records.
        given: whether the caller gave it as an object.
        run: the training run it was loaded from, or None.
        warnings: what should be known of it.
    """

    model: Model
    name: str
    given: bool = False
    run: Path | None = None
    warnings: tuple[str, ...] = ()


def resolve(
    model: Model | Pathlike,
    data: ImageData,
    *,
    weights: Pathlike | None = None,
    normalize: Statistics | str | None = None,
    seed: int = 0,
) -> Source:
    """The model that is meant, built for these data where it is named.

    Raises:
        InputError: an unknown name, a missing file, weights that do not fit.
    """
    if isinstance(model, (str, os.PathLike)):
        source = _named(os.fspath(model), data, weights, normalize, seed)
    elif callable(model):
        name = type(model).__name__ if isinstance(model, nn.Module) else "function"
        source = Source(_normalised(model, normalize), name, given=True)
    else:
        shown_type = described(type(model).__name__)
        raise InputError("model", shown_type, "is no model", "give a module, a name or a file")
    if weights is not None:
        if not isinstance(source.model, nn.Module):
            raise InputError("weights", str(weights), "needs a module", "give an nn.Module")
        load_weights(source.model, weights)
    return source


def placed(source: Source, device: torch.device | str | None) -> torch.device:
    """Moves a named model to the device that is asked for; a given one stays where it is.

    Raises:
        InputError: a device that is not there.
    """
    default = device_of(source.model)
    if not source.given:
        default = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = default if device is None else torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as cause:
        remedy = "use 'cpu', or 'auto'"
        raise InputError("device", str(device), "cannot be used here", remedy) from cause
    if isinstance(source.model, nn.Module) and device_of(source.model) != place:
        source.model.to(place)
    return place


def _named(
    text: str, data: ImageData, weights: Pathlike | None, normalize: Any, seed: int
) -> Source:
    path = Path(text)
    if path.is_dir():
        network, _ = load_model(checkpoint_of(path))
        name = str(Run(path).describe().get("model") or path.resolve().name)
        return Source(_normalised(network, normalize), name, run=path)
    if path.suffix == ".safetensors":
        network, _ = load_model(path)
        return Source(_normalised(network, normalize), path.stem)
    if (os.sep in text or path.suffix or path.exists()) and ":" not in text:
        problem = "is no run directory or safetensors file" if path.exists() else "is not there"
        remedy = "give a name, package.module:factory, a run or a .safetensors file"
        raise InputError("model", shown(text), problem, remedy)
    if isinstance(normalize, (tuple, list)):
        mean, std = ((each,) if isinstance(each, (int, float)) else each for each in normalize)
        normalize = (tuple(mean), tuple(std))
    network = build_for(ModelSpec(name=text, normalize=normalize), data, seed).eval()
    warnings = ("the model has its initial weights: give weights",)
    return Source(network, text, warnings=() if weights or ":" in text else warnings)


def _normalised(model: Model, normalize: Any) -> Model:
    if normalize is None:
        return model
    if isinstance(normalize, str):
        if normalize not in STATISTICS:
            raise unknown_name("normalize", normalize, STATISTICS)
        normalize = STATISTICS[normalize]
    layer = Normalize(*([each] if isinstance(each, (int, float)) else each for each in normalize))
    if isinstance(model, nn.Module):
        return Normalized(layer.to(device_of(model)), model)
    return lambda x: model(layer.to(x.device)(x))
