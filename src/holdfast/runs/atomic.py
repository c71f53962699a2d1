"""Files that are either complete or absent: everything that is kept is written through here.

A file is written under a temporary name in the folder of its target, flushed to the disk, renamed
onto the target, and the folder is flushed: a process killed at any moment leaves the old file or
the new one, never half of either. Leftovers of a kill begin with a dot, end in `.tmp` and are
ignored by every reader; `sweep` removes them. Imports no torch.
"""

import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError, described

Pathlike = str | os.PathLike[str]

_REMEDIES = {
    errno.ENOSPC: "free space there or choose another folder",
    errno.EDQUOT: "free space there or choose another folder",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or choose another folder",
    errno.EACCES: "choose a path that you may write to",
    errno.EPERM: "choose a path that you may write to",
    errno.EROFS: "choose a path that you may write to",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "choose a path whose parents are folders",
    errno.EEXIST: "choose a path whose parents are folders",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_SAFETENSORS_CODE = re.compile(r"\(os error (\d+)\)")


@contextmanager
def replace(path: Pathlike) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends without an error.

    Parent folders are created; a link is followed; a device or pipe (`/dev/stdout`) is copied to.

    Guarantee: `path` holds its old content or the whole new one at any moment; on any failure, an
        interrupt too, the temporary file is removed.

    Raises:
        InputError: the system refuses (disk full, no permission, limit on file sizes); the message
            names the path and the remedy. The writer's other errors pass through.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> with replace(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    target = Path(path)
    with _explained(target):
        if _is_special(target):
            with tempfile.TemporaryDirectory(prefix="holdfast-") as folder:
                temporary = Path(folder) / "content"
                yield temporary
                with temporary.open("rb") as source, target.open("wb") as device:
                    shutil.copyfileobj(source, device)
            return
        target = Path(os.path.realpath(target))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(
            f".{target.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        )
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _flush(target.parent)


def write_bytes(path: Pathlike, data: bytes | memoryview) -> None:
    """Writes the bytes; see `replace` for what is guaranteed and raised."""
    with replace(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Pathlike, text: str) -> None:
    """Writes the text as UTF-8; see `replace` for what is guaranteed and raised."""
    write_bytes(path, text.encode())


def write_json(path: Pathlike, value: Any) -> None:
    """Writes plain data as JSON: order of keys kept, indented by 2, ending in a line break.

    NaN and infinities, which JSON lacks, become null; arrays and tensors become lists, enumeration
    members their words.

    Raises:
        TypeError: the value holds something that has no JSON form.
        InputError: the file cannot be written; see `replace`.
    """
    write_text(path, json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Pathlike) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: the file is absent, cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError as error:
        problem = f"is not valid JSON ({error})"
    raise InputError("path", shown(path), problem, "restore the file or start a new run") from None


def read_table(path: Pathlike) -> dict[str, Any]:
    """The content of a JSON file that holds a table; errors as in `read_json`."""
    value = read_json(path)
    if isinstance(value, dict):
        return value
    raise InputError("path", shown(path), "does not hold a table", "restore the file")


def plain(value: Any) -> Any:
    """`value` in the types that JSON has.

    Example:
        >>> plain({"radius": float("nan"), 3: (1, True)})
        {'radius': None, '3': [1, True]}
    """
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else str(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def sweep(folder: Pathlike) -> int:
    """Removes what killed writers left in `folder` and below; how many files that were.

    Only for the process that holds the exclusive lock: a living writer's file would go as well.
    """
    leftovers = list(Path(folder).rglob(".*.tmp"))
    for each in leftovers:
        each.unlink(missing_ok=True)
    return len(leftovers)


def shown(path: Pathlike) -> str:
    """A path for an error message; of a long one the end, which says more than the beginning."""
    text = os.fspath(path)
    return text if len(text) <= 72 else described("..." + text[-69:])


def unwritable(path: Pathlike, error: OSError) -> InputError:
    """The error for a path that the system refuses to write, with the remedy for its reason."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "choose another path")
    return InputError("path", shown(path), f"cannot be written ({reason})", remedy)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns refusals of the system, also those that safetensors reports, into an InputError."""
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error
    except Exception as error:
        code = _SAFETENSORS_CODE.search(str(error))
        if type(error).__name__ != "SafetensorError" or code is None:
            raise
        raise unwritable(path, OSError(int(code[1]), "")) from error


def _is_special(path: Path) -> bool:
    """Whether the path is a device, a pipe or a socket: something that cannot be replaced."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _flush(path: Path) -> None:
    """Waits until the file's content, or the folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if path.is_dir():
            with suppress(OSError):  # some file systems cannot flush a folder
                os.fsync(handle)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)
