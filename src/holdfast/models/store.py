"""Checkpoints: weights as safetensors, with what rebuilds the network in the metadata.

The metadata of a file are texts: `architecture` (name, options and normaliser as JSON), `sha256` of
the weights, `holdfast` (the version that wrote it) and `metadata` (the caller's own, as JSON).
Reading one executes nothing: neither a pickle is opened, nor a factory called that the file names,
unless the caller names it too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from holdfast import __version__
from holdfast.core.errors import InputError, shorten
from holdfast.models.normalize import Normalized
from holdfast.models.registry import Architecture, architecture_of, build_model, record
from holdfast.models.weights import Location, read_tensors, state_of, weights_hash, write_tensors


@dataclass(frozen=True)
class Metadata:
    """What a checkpoint says of itself.

    Args:
        architecture: how to build its network, or None.
        weights_hash: the hash of its weights, as computed on reading.
        version: the holdfast that wrote it, or None for a foreign file.
        extra: what the caller of `save_model` added.
    """

    architecture: Architecture | None
    weights_hash: str
    version: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    path: Location,
    model: nn.Module,
    architecture: Architecture | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """Writes the weights and buffers of a network, with its architecture.

    Args:
        path: the file; directories are made.
        architecture: None takes the one that `build_model` recorded, if any.
        metadata: plain data to keep with it.

    Returns:
        the hash of the weights.

    Guarantee: the file appears whole or not at all, and an older one stays until then.

    Raises:
        InputError: the file cannot be written, data that are not plain, a state that is no tensor.
    """
    architecture = architecture or architecture_of(model)
    return save_weights(path, state_of(model), architecture, metadata)


def save_weights(
    path: Location,
    weights: Mapping[str, Tensor],
    architecture: Architecture | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> str:
    """`save_model` for a state dict."""
    texts = {"holdfast": __version__, "sha256": weights_hash(weights)}
    if architecture is not None:
        texts["architecture"] = _json("architecture", _as_plain(architecture))
    if metadata is not None:
        texts["metadata"] = _json("metadata", dict(metadata))
    write_tensors(path, weights, texts)
    return texts["sha256"]


def load_model(path: Location, *, factory: str | None = None) -> tuple[nn.Module, Metadata]:
    """The network of a checkpoint that records its architecture, on the CPU, in evaluation mode.

    Args:
        factory: the `package.module:factory` that may be called, where the checkpoint was made with
            one; a file alone is not trusted to name code.

    Guarantee: where all weights have one type, the network has it too, and the same hash.

    Raises:
        InputError: not a checkpoint, damaged, without architecture, made by another factory, or its
            weights do not fit.
    """
    weights, metadata = read_weights(path)
    architecture = metadata.architecture
    if architecture is None:
        remedy = "build the model by its name and load the file as its weights"
        raise InputError("model", str(path), "records no architecture", remedy)
    if architecture.foreign and architecture.name != factory:
        problem = f"was made by {shorten(architecture.name)}, code from outside"
        raise InputError("model", str(path), problem, "name that factory, if it is trusted")
    model = _rebuild(path, architecture)
    kinds = {each.dtype for each in weights.values() if each.is_floating_point()}
    if len(kinds) == 1:
        model.to(kinds.pop())
    _fill(model, weights, path)
    return model.eval(), metadata


def load_weights(model: nn.Module, path: Location) -> Metadata:
    """Loads a safetensors file into a network, strictly.

    Weights of a bare network load into the inner network of a `Normalized`.

    Raises:
        InputError: not such a file, damaged, or keys and shapes that do not fit; the model is then
            as before.
    """
    weights, metadata = read_weights(path)
    _fill(model, weights, path)
    return metadata


def read_weights(path: Location) -> tuple[dict[str, Tensor], Metadata]:
    """The tensors of a safetensors file by key, on the CPU, and its metadata.

    Raises:
        InputError: no such file, a pickle, damaged, or weights that are not those it was written
            with.
    """
    weights, texts = read_tensors(path)
    found = weights_hash(weights)
    if texts.get("sha256", found) != found:
        problem = "holds other weights than it was written with"
        raise InputError("weights", str(path), problem, "write or fetch it again")
    return weights, _metadata(path, texts, found)


def _metadata(path: Location, texts: Mapping[str, str], found: str) -> Metadata:
    try:
        architecture = _from_plain(json.loads(texts.get("architecture", "null")))
        extra = json.loads(texts.get("metadata", "{}"))
    except (ValueError, TypeError, KeyError) as cause:
        raise InputError(
            "weights", str(path), "has unreadable metadata", "write it again"
        ) from cause
    return Metadata(architecture, found, texts.get("holdfast"), extra)


def _as_plain(architecture: Architecture) -> dict[str, Any]:
    normalize = architecture.normalize
    return {
        "name": architecture.name,
        "options": dict(architecture.options),
        "normalize": None if normalize is None else [list(each) for each in normalize],
    }


def _from_plain(values: Any) -> Architecture | None:
    if values is None:
        return None
    name, options, normalize = values["name"], values["options"], values["normalize"]
    if not isinstance(name, str) or not isinstance(options, dict):
        raise TypeError("an architecture is a name and options")
    if normalize is not None:
        mean, std = (tuple(float(value) for value in each) for each in normalize)
        normalize = (mean, std)
    return Architecture(name, options, normalize)


def _rebuild(path: Location, architecture: Architecture) -> nn.Module:
    name, normalize = architecture.name, architecture.normalize
    if {"name", "seed", "normalize"} & set(architecture.options):
        raise InputError("model", str(path), "has unreadable metadata", "write it again")
    model = build_model(name, normalize=normalize, **architecture.options)
    return record(model, architecture)


def _fill(model: nn.Module, weights: Mapping[str, Tensor], path: Location) -> None:
    target = model
    if isinstance(model, Normalized) and not _misfit(model.net, weights):
        target = model.net
    problem = _misfit(target, weights)
    if problem:
        remedy = "give the model that these weights belong to"
        raise InputError("weights", str(path), f"does not fit the model: {problem}", remedy)
    target.load_state_dict(dict(weights), strict=True)


def _misfit(model: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """What keeps the weights from loading, or an empty text."""
    state = state_of(model)
    differing = [
        f"{key} {tuple(weights[key].shape)}, not {tuple(state[key].shape)}"
        for key in sorted(state.keys() & weights.keys())
        if weights[key].shape != state[key].shape
    ]
    kinds = [
        f"{key} {weights[key].dtype}, not {state[key].dtype}"
        for key in sorted(state.keys() & weights.keys())
        if weights[key].is_floating_point() != state[key].is_floating_point()
    ]
    parts = (
        ("missing", sorted(state.keys() - weights.keys())),
        ("unexpected", sorted(weights.keys() - state.keys())),
        ("of another shape", differing),
        ("of another type", kinds),
    )
    return "; ".join(f"{len(names)} {word}: {_some(names)}" for word, names in parts if names)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _json(argument: str, values: Any) -> str:
    try:
        return json.dumps(values, sort_keys=True)
    except (TypeError, ValueError):
        raise InputError(argument, values, "is not plain data", "give texts and numbers") from None
