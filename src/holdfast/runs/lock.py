"""One writer per run directory: an advisory lock that the system releases when its holder dies.

The lock is `flock` on `<run>/.lock`; the file also says who holds it, for the error message. Its
content decides nothing but which ranks belong together: a stale file locks nobody out. Where the
file system has no locks, work goes on without one and a log record says so. Imports no torch.
"""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from holdfast.core.errors import RunConflict
from holdfast.runs.atomic import Pathlike, shown, unwritable

Kind = Literal["exclusive", "shared", "none"]

_JOB_VARIABLES = (
    "TORCHELASTIC_RUN_ID",
    "MASTER_ADDR",
    "MASTER_PORT",
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
)
_PATIENCE = 2.0  # seconds for a rank of the same job to settle its lock
_log = logging.getLogger("holdfast")


@contextmanager
def lock(path: Pathlike, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock of a run directory.

    Args:
        path: the run directory.
        shared: let other ranks of this job (same `job_id`) hold it too; other jobs are refused as
            ever. Without a job this is the exclusive lock.

    Guarantee: at most one process, or the ranks of one job, hold it at a time; a holder that is
        killed, by whatever signal, holds it no more.

    Raises:
        RunConflict: another process holds it; names the process.
        InputError: the lock file cannot be written.
    """
    folder = Path(path)
    handle = _open(folder / ".lock")
    try:
        _hold(handle, folder, job_id() if shared else None)
        yield
    finally:
        os.close(handle)


def job_id() -> str | None:
    """What the ranks of one launch have in common, from the launcher's variables; None without."""
    values = [os.environ.get(name, "") for name in _JOB_VARIABLES]
    return "/".join(values) if any(values) else None


def flock(handle: int, kind: Kind) -> bool:
    """Tries to take, change or drop the lock on an open file, without waiting.

    Returns:
        Whether the lock is held as asked, or the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:  # a system without flock
        return _unsupported()
    flags = {"exclusive": fcntl.LOCK_EX, "shared": fcntl.LOCK_SH, "none": fcntl.LOCK_UN}
    try:
        fcntl.flock(handle, flags[kind] | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            return _unsupported()
        raise
    return True


def _unsupported() -> bool:
    _log.warning("this file system has no locks: do not start a second process on the same run")
    return True


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise unwritable(path, error) from error


def _hold(handle: int, folder: Path, job: str | None) -> None:
    try:
        held = _hold_alone(handle) if job is None else _hold_together(handle, job)
    except OSError as error:
        raise unwritable(folder / ".lock", error) from error
    if not held:
        raise _conflict(handle, folder)


def _hold_alone(handle: int) -> bool:
    if not flock(handle, "exclusive"):
        return False
    _sign(handle, None)
    return True


def _hold_together(handle: int, job: str) -> bool:
    """The first rank signs for the job under the exclusive lock, then all share."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if flock(handle, "exclusive"):
            _sign(handle, job)
        if flock(handle, "shared"):
            if _holder(handle).get("job") == job:
                return True
            flock(handle, "none")
        time.sleep(0.02)
    return False


def _sign(handle: int, job: str | None) -> None:
    """Writes the holder in one piece of fixed length, so that it can be read at any moment."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "job": job}
    os.pwrite(handle, json.dumps(holder).ljust(1024).encode(), 0)


def _holder(handle: int) -> dict[str, Any]:
    """Who signed last; empty where it cannot be told."""
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _conflict(handle: int, folder: Path) -> RunConflict:
    holder = _holder(handle)
    who = f"process {holder['pid']}" if "pid" in holder else "another process"
    host = holder.get("host")
    where = f" on {host}" if host and host != socket.gethostname() else ""
    return RunConflict(
        f"{shown(folder)} is in use by {who}{where}; wait until it has ended, or choose another run"
    )
