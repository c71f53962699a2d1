import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from holdfast.core.errors import InputError, RunConflict
from holdfast.runs.lock import job_id, lock

HOLD = """
import sys
from holdfast.runs.lock import lock
with lock(sys.argv[1], shared=len(sys.argv) > 2):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def holder(path, *options):
    command = [sys.executable, "-c", HOLD, str(path), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    with holder(tmp_path) as process:
        words = rf"{tmp_path.name} is in use by process {process.pid};"
        with pytest.raises(RunConflict, match=words), lock(tmp_path):
            pass
        process.kill()
        process.wait()
        with lock(tmp_path):
            content = json.loads((tmp_path / ".lock").read_text())
    assert content == {"pid": os.getpid(), "host": socket.gethostname(), "job": None}


def test_the_lock_is_free_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(KeyError), lock(tmp_path):
        raise KeyError
    with lock(tmp_path), pytest.raises(RunConflict, match=f"process {os.getpid()}"):
        lock(tmp_path).__enter__()
    with lock(tmp_path):
        pass


def test_a_holder_elsewhere_is_named_with_its_host(tmp_path):
    with holder(tmp_path):
        (tmp_path / ".lock").write_text(json.dumps({"pid": 7, "host": "elsewhere"}))
        with pytest.raises(RunConflict, match="process 7 on elsewhere"), lock(tmp_path):
            pass
        (tmp_path / ".lock").write_text("")
        with pytest.raises(RunConflict, match="another process"), lock(tmp_path):
            pass


def test_ranks_of_one_job_share_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.runs.lock._PATIENCE", 0.1)
    monkeypatch.setenv("MASTER_PORT", "29501")
    with holder(tmp_path, "shared"):
        with lock(tmp_path, shared=True), lock(tmp_path, shared=True):
            pass
        with pytest.raises(RunConflict), lock(tmp_path):
            pass
        monkeypatch.setenv("MASTER_PORT", "29502")
        with pytest.raises(RunConflict), lock(tmp_path, shared=True):
            pass
    with lock(tmp_path, shared=True):  # the signature of the job before locks nobody out
        assert json.loads((tmp_path / ".lock").read_text())["job"] == job_id()


def test_ranks_that_come_at_once_all_get_in(tmp_path, monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "29503")
    command = [sys.executable, "-c", HOLD, str(tmp_path), "shared"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    ranks = [subprocess.Popen(command, **pipes) for _ in range(5)]
    said = [rank.stdout.readline() for rank in ranks]
    for rank in ranks:
        rank.communicate()
    assert said == [b"held\n"] * 5


def test_an_exclusive_holder_keeps_ranks_out_and_shared_without_a_job_is_exclusive(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("holdfast.runs.lock._PATIENCE", 0.1)
    with lock(tmp_path, shared=True):
        monkeypatch.setenv("SLURM_JOB_ID", "12")
        began = time.monotonic()
        with pytest.raises(RunConflict), lock(tmp_path, shared=True):
            pass
        assert time.monotonic() - began < 2


def test_a_lock_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"\.lock"), lock(tmp_path / "file"):
        pass


def test_a_file_system_without_locks_is_logged_and_used(tmp_path, monkeypatch, caplog):
    import errno
    import fcntl

    def refuse(handle, flags):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(tmp_path):
        assert "no locks" in caplog.text
