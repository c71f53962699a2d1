"""Processes that wait for each other through files of the run directory: no network, no
`torch.distributed`.

Each rank holds the lock on its own file `alive.<rank>`, which the system releases when the process
dies, leaves a mark `<stage>.done.<rank>-of-<world>` when its part of a stage is on the disk, and a
mark `failed.<rank>` when it ends with an error. So a waiting rank learns of another's death at
once, however it died. Marks of a stage stay: in a resumed run of as many ranks, what was done is
done. Imports no torch.
"""

import os
import time
from pathlib import Path
from urllib.parse import quote

from holdfast.core.errors import HoldfastError, RunConflict
from holdfast.runs import atomic
from holdfast.runs.atomic import Pathlike, unwritable
from holdfast.runs.executors import Shard
from holdfast.runs.lock import flock


class Ranks:
    """The ranks of one job that share a run directory; a context manager.

    Args:
        folder: usually `Run.ranks`, the same for all.
        shard: this process's place among them.
        start: seconds that a rank may take to appear.
        timeout: seconds that a stage may take in all.

    Guarantee: a rank that died, by whatever signal, ends the wait of the others with an error; with
        one rank nothing is written and nothing waits. Where the file system has no locks, only
        `timeout` ends the wait.

    Example:
        >>> with Ranks(getfixture("tmp_path"), Shard(rank=0, world=1)) as ranks:
        ...     ranks.gather("attack")
        True
    """

    def __init__(
        self, folder: Pathlike, shard: Shard, *, start: float = 300.0, timeout: float = 86400.0
    ):
        self.folder, self.shard, self.start, self.timeout = Path(folder), shard, start, timeout
        self._handle: int | None = None
        self._seen: set[int] = set()
        self._blind = False

    def __enter__(self) -> "Ranks":
        if self.shard.world > 1:
            own = self._alive(self.shard.rank)
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._failed(self.shard.rank).unlink(missing_ok=True)
                self._handle = os.open(own, os.O_RDWR | os.O_CREAT, 0o666)
                os.utime(own)
            except OSError as error:
                raise unwritable(own, error) from error
            try:
                self._appear(self._handle)
            except RunConflict:
                os.close(self._handle)
                raise
            self._blind = not _held(own)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._handle is None:
            return
        try:
            if error is not None:
                atomic.write_text(self._failed(self.shard.rank), _told(error))
        finally:
            os.close(self._handle)
            self._handle = None

    def gather(self, stage: str) -> bool:
        """Says that this rank's part of the stage is on the disk; rank 0 waits for all others.

        Flush the journal first.

        Returns:
            Whether this is rank 0, which now reads the rows of all.

        Raises:
            RunConflict: rank 0 waited for a rank that died, never appeared, or took too long.
        """
        self._mark(stage)
        if self.shard.rank == 0:
            self._wait(stage)
        return self.shard.rank == 0

    def barrier(self, stage: str) -> None:
        """As `gather`, but every rank waits for all others."""
        self._mark(stage)
        self._wait(stage)

    def _mark(self, stage: str) -> None:
        if self.shard.world > 1:
            atomic.write_text(self._done(stage, self.shard.rank), "")

    def _wait(self, stage: str) -> None:
        began, pause = time.monotonic(), 0.01
        missing = set(range(self.shard.world)) - {self.shard.rank}
        while missing:
            waited = time.monotonic() - began
            missing = {rank for rank in missing if not self._finished(stage, rank, waited)}
            if missing and waited > self.timeout:
                raise RunConflict(
                    f"rank {min(missing)} did not finish {stage} in {self.timeout:g} seconds;"
                    " stop the run and continue it with --resume"
                )
            if missing:
                time.sleep(pause)
                pause = min(0.5, pause * 1.5)

    def _finished(self, stage: str, rank: int, waited: float) -> bool:
        """Whether the rank has done its part; raises if it never will."""
        alive = self._blind or _held(self._alive(rank))  # before the mark: it may end in between
        if self._done(stage, rank).exists():
            return True
        if alive:
            self._seen.add(rank)
        elif rank in self._seen or self._failed_now(rank):
            raise self._lost(stage, rank, "ended before it finished")
        elif waited > self.start:
            raise self._lost(stage, rank, f"did not appear in {self.start:g} seconds to work on")
        return False

    def _failed_now(self, rank: int) -> bool:
        """Whether the rank's failure is of this launch: a new launch removes its old mark, late."""
        try:
            own = self._alive(self.shard.rank).stat().st_mtime
            return self._failed(rank).stat().st_mtime >= own
        except FileNotFoundError:
            return False

    def _lost(self, stage: str, rank: int, how: str) -> RunConflict:
        failed = self._failed(rank)
        cause = f" ({failed.read_text(encoding='utf-8')})" if failed.exists() else ""
        return RunConflict(
            f"rank {rank} {how} {stage}{cause}; finished examples are kept: continue with --resume"
        )

    def _appear(self, handle: int) -> None:
        """Takes this rank's own lock; others only touch it for an instant, to look."""
        deadline = time.monotonic() + 5
        while not flock(handle, "exclusive"):
            if time.monotonic() > deadline:
                raise RunConflict(
                    f"rank {self.shard.rank} of this run is already at work in another process;"
                    " wait until it has ended"
                )
            time.sleep(0.02)

    def _alive(self, rank: int) -> Path:
        return self.folder / f"alive.{rank}"

    def _failed(self, rank: int) -> Path:
        return self.folder / f"failed.{rank}"

    def _done(self, stage: str, rank: int) -> Path:
        return self.folder / f"{quote(stage, safe='')}.done.{rank}-of-{self.shard.world}"


def _held(path: Path) -> bool:
    """Whether a process holds the lock on the file."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not flock(handle, "shared")
    finally:
        os.close(handle)


def _told(error: BaseException) -> str:
    text = str(error) if isinstance(error, HoldfastError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:500]
