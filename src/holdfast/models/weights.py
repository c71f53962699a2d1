"""Files of weights: safetensors, written atomically, checked on reading, hashed by content.

A file that is no whole safetensors file is refused by its first bytes; pickles are recognised and
never opened.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.models.options import reason

Location = str | os.PathLike[str]

_CONVERT = "convert it first: holdfast models convert SOURCE TARGET.safetensors"
_PICKLED = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar")


def weights_hash(model: nn.Module | Mapping[str, Tensor]) -> str:
    """The SHA-256 of a state dict: keys, types, shapes and bytes, in the order of the keys.

    Guarantee: it does not depend on the device, on strides, or on the order of the modules.
    """
    state = state_of(model) if isinstance(model, nn.Module) else model
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of a network, if it holds tensors only."""
    state = model.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError("model", key, "is no tensor", "keep tensors in the state dict only")
    return dict(state)


def write_tensors(path: Location, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Writes a safetensors file beside its target, flushes it to the disk, renames it.

    Raises:
        InputError: the file cannot be written; an older one is then as before.
    """
    owned = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    content = save(owned, metadata=dict(texts))
    try:
        _publish(Path(path), content)
    except OSError as cause:
        problem = f"cannot be written ({cause.strerror or cause})"
        raise InputError("path", str(path), problem, "free space or give another path") from cause


def read_tensors(path: Location) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file by key, on the CPU, and its metadata.

    Raises:
        InputError: no such file, a pickle, or damaged.
    """
    _check_container(Path(path))
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as cause:
        problem = f"is no whole safetensors file ({reason(cause)})"
        raise InputError("weights", str(path), problem, "write or fetch it again") from cause


def _publish(path: Path, content: bytes) -> None:
    """The content under its name, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _check_container(path: Path) -> None:
    """Refuses what is no safetensors file, by its first bytes."""
    try:
        with open(path, "rb") as file:
            head = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError as cause:
        problem = f"cannot be read ({cause.strerror or cause})"
        raise InputError("weights", str(path), problem, "give a safetensors file") from cause
    if head[8:] == b"{" and int.from_bytes(head[:8], "little") < size:
        return
    if head[:2] == b"PK" or head[:1] == b"\x80" or path.suffix.lower() in _PICKLED:
        raise InputError("weights", str(path), "is a pickle, which may hold code", _CONVERT)
    problem = "is no safetensors file, or is cut short"
    raise InputError("weights", str(path), problem, "write or fetch it again")
