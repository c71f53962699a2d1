"""The run directory of a verb: made or found again, locked while in use, removed if nothing came.

Imports no torch.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.errors import CaptureError, HoldfastError, InputError
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run
from holdfast.runs.executors import Shard, agree
from holdfast.runs.lock import lock


@contextmanager
def run_directory(
    verb: str,
    model: str,
    data: str,
    run: Run | Pathlike | None,
    *,
    resume: bool = False,
    root: Pathlike = "runs",
    numbered: bool = False,
) -> Iterator[Run | None]:
    """The run directory of a verb: made or found, and locked for the block.

    Args:
        run: None for none, unless `numbered`; a path; or a `Run`, which is passed on as it is.
        resume: continue what is there, by default the newest unfinished run of that name.
        numbered: without a path, make `root/<verb>-<model>-<data>-<n>`.

    Guarantee: all ranks of a job get the same one; a new directory in which nothing was computed
        is removed when the block fails.
    """
    if isinstance(run, Run) or (run is None and not numbered):
        if run is None and resume:
            raise InputError("resume", True, "has no run to go on with", "give the run")
        yield run
        return
    shard, fresh, had_root = Shard.current(), not resume, Path(root).exists()
    path = ""
    if shard.rank == 0:
        found = (
            _unfinished(verb, model, data, root, run)
            if resume
            else Run.create(verb, model, data, root=root, path=run)
        )
        path = str(found.path)
    kept = Run(Path(agree(path, shard)))
    try:
        with lock(kept.path, shared=True):
            yield kept
    except HoldfastError as error:
        if fresh and shard.rank == 0 and (isinstance(error, CaptureError) or _untouched(kept)):
            shutil.rmtree(kept.path, ignore_errors=True)
            if not had_root and run is None and not any(Path(root).iterdir()):
                Path(root).rmdir()
        raise


def _unfinished(verb: str, model: str, data: str, root: Pathlike, run: Pathlike | None) -> Run:
    """The run to continue: the one named, or the newest unfinished one of that name."""
    if run is not None:
        return Run.open(run)
    wanted = {"verb": verb, "model": model, "data": data}
    found = [Run(file.parent) for file in Path(root).glob("*/run.json")]
    same = [each for each in found if wanted.items() <= each.describe().items()]
    open_runs = [each for each in same if not each.finished]
    if not open_runs:
        problem = f"finds no unfinished {verb} of {model} on {data} in {os.fspath(root)}"
        raise InputError("resume", True, problem, "give --run DIR, or start without --resume")
    return max(open_runs, key=lambda each: (each.path / "run.json").stat().st_mtime_ns)


def _untouched(run: Run) -> bool:
    """Whether nothing was computed in the run."""
    kept = (*run.journal.glob("*.safetensors"), *run.checkpoints.glob("*.safetensors"))
    return not kept and not run.finished
