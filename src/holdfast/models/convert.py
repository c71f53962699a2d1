"""Conversion of `torch.save` files to safetensors: the one place where a pickle is opened.

It is opened with `weights_only=True`, which rebuilds tensors and plain containers and refuses
everything else before it is called.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.core.errors import InputError, unknown_name
from holdfast.models.store import save_weights
from holdfast.models.weights import Location

NESTED = ("state_dict", "model", "net")
PREFIXES = ("module.", "_orig_mod.")


def convert(source: Location, target: Location, key: str | None = None) -> str:
    """Writes the state dict of a `torch.save` file as a safetensors file.

    Args:
        source: holds a state dict, or a dict with one under `state_dict`, `model` or `net`.
        target: the safetensors file to write.
        key: under which the state dict stands, where it is another one.

    Returns:
        the hash of the weights. The prefixes `module.` and `_orig_mod.` of wrapped models are cut.

    Guarantee: no code of the file is executed.

    Raises:
        InputError: not such a file, anything but tensors in it, or `target` cannot be written.
    """
    weights = _stripped(_state_dict(_opened(source), source, key), source)
    return save_weights(target, weights, metadata={"converted_from": Path(source).name})


def _opened(source: Location) -> Any:
    try:
        file = open(source, "rb")  # noqa: SIM115
    except OSError as cause:
        problem = f"cannot be read ({cause.strerror or cause})"
        raise InputError("source", str(source), problem, "give a torch.save file") from cause
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as cause:
        problem = "is no torch.save file, or holds more than tensors"
        remedy = "save model.state_dict() with torch.save and convert that"
        raise InputError("source", str(source), problem, remedy) from cause


def _state_dict(content: Any, source: object, key: str | None) -> Mapping[str, Tensor]:
    """The state dict in what the file holds."""
    if key is not None:
        names = list(map(str, content)) if isinstance(content, Mapping) else []
        if key not in names:
            raise unknown_name("key", key, names or ["nothing"])
        content = content[key]
    elif isinstance(content, Mapping):
        inner = [name for name in NESTED if isinstance(content.get(name), Mapping)]
        content = content[inner[0]] if inner else content
    if not isinstance(content, Mapping) or not content:
        problem = f"holds a {type(content).__name__} without weights"
        raise InputError("source", str(source), problem, "name the state dict by its key")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not _dense(value):
            problem = f"holds {name!r}, a {type(value).__name__}, beside weights"
            raise InputError("source", str(source), problem, "name the state dict by its key")
    return content


def _dense(value: Tensor) -> bool:
    return value.layout == torch.strided and not value.is_quantized and not value.is_complex()


def _stripped(weights: Mapping[str, Tensor], source: object) -> dict[str, Tensor]:
    """The weights without the prefixes that wrappers put before every key."""
    result = dict(weights)
    while prefix := next(
        (each for each in PREFIXES if all(k.startswith(each) for k in result)), ""
    ):
        result = {name.removeprefix(prefix): value for name, value in result.items()}
    return result
