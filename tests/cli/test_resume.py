"""Interrupted, killed, shared among processes: the same result as one uninterrupted process."""

import copy
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

VOLATILE = ("seconds", "padding", "stages", "command")
ENVIRONMENT = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}


def arguments(run, *more, restarts=10):
    """An evaluation of a few seconds."""
    return [
        *("evaluate", "--model", "net.safetensors", "--data", "digits", "--threat", "linf:0.06"),
        *("--attacks", f"fgsm,pgd-20-{restarts}", "--radii", "0.02", "--limit", "120"),
        *("--block", "8", "--threads", "1", "--run-dir", run, *more),
    ]


def launched(*argv, launcher=("-m", "holdfast"), new_session=False):
    return subprocess.Popen(
        [sys.executable, *launcher, *argv],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=new_session,
    )


def finished(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    return out, err


def stable(folder):
    """The result without what may differ between equal evaluations, and the rows."""
    result = json.loads((folder / "result.json").read_text())
    result = copy.deepcopy({key: each for key, each in result.items() if key not in VOLATILE})
    for row in result["attacks"]:
        row.pop("seconds")
    from holdfast.runs.directory import Run

    rows = {key: column.tolist() for key, column in Run(folder).read_examples().items()}
    rows.pop("seconds")
    return result, repr(rows)


def wait_for_start(folder, limit=120.0):
    """Waits until the work in the run has begun, and then for a moment."""
    end = time.monotonic() + limit
    while not (folder / "settings.json").is_file():
        assert time.monotonic() < end, "nothing was computed"
        time.sleep(0.02)
    time.sleep(random.Random(os.getpid()).uniform(0.3, 1.5))


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "net.safetensors").write_bytes((store / "net.safetensors").read_bytes())
    process = subprocess.run(
        [sys.executable, "-m", "holdfast", *arguments("runs/whole", "--quiet")],
        env=ENVIRONMENT,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return stable(folder / "runs" / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_continues_to_the_same_result(number, whole, here):
    process = launched(*arguments("runs/one"))
    wait_for_start(here / "runs" / "one")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    told = err.splitlines()[-1]
    assert told.startswith("interrupted; continue with: holdfast evaluate ")
    assert told.endswith("--resume")
    assert not (here / "runs" / "one" / "result.json").exists()
    again = told.partition("continue with: holdfast ")[2].split()
    finished(launched(*again))
    assert stable(here / "runs" / "one") == whole


def test_a_killed_run_continues_to_the_same_result(whole, here):
    process = launched(*arguments("runs/one"))
    wait_for_start(here / "runs" / "one")
    process.kill()
    process.communicate()
    finished(launched(*arguments("runs/one", "--resume")))
    assert stable(here / "runs" / "one") == whole


def test_two_jobs_give_the_same_result(whole, here):
    out, _ = finished(launched(*arguments("runs/two", "--jobs", "2", "--json")))
    assert stable(here / "runs" / "two") == whole
    assert json.loads(out)["robust_accuracy"] == whole[0]["robust_accuracy"]


def test_torchrun_gives_the_same_result_and_prints_it_once(whole, here):
    launcher = ("-m", "torch.distributed.run", "--nproc_per_node", "2")
    launcher += ("--rdzv_backend", "c10d", "--rdzv_endpoint", "localhost:0", "-m", "holdfast")
    out, _ = finished(launched(*arguments("runs/two", "--json"), launcher=launcher))
    assert stable(here / "runs" / "two") == whole
    assert json.loads(out)["examples"] == 120


def test_a_run_in_use_is_refused(here):
    process = launched(*arguments("runs/one", restarts=200))
    wait_for_start(here / "runs" / "one")
    second = launched(*arguments("runs/one", "--resume", restarts=200))
    _, err = second.communicate(timeout=60)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert second.returncode == 2
    assert f"is in use by process {process.pid}" in err


def adaptive(run, *more):
    """An evaluation by a protocol whose steps depend on what others found."""
    return [
        *("evaluate", "--model", "net.safetensors", "--data", "digits", "--threat", "linf:0.06"),
        *("--protocol", "fast", "--bounds", "", "--limit", "90"),
        *("--block", "8", "--threads", "1", "--run-dir", run, *more),
    ]


@pytest.fixture(scope="module")
def raced(store, tmp_path_factory):
    """The uninterrupted run of the adaptive protocol."""
    folder = tmp_path_factory.mktemp("raced")
    (folder / "net.safetensors").write_bytes((store / "net.safetensors").read_bytes())
    process = subprocess.run(
        [sys.executable, "-m", "holdfast", *adaptive("runs/whole", "--quiet")],
        env=ENVIRONMENT,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return stable(folder / "runs" / "whole")


def test_an_adaptive_protocol_does_the_same_in_two_jobs(raced, here):
    finished(launched(*adaptive("runs/two", "--jobs", "2", "--quiet")))
    assert stable(here / "runs" / "two") == raced


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_adaptive_protocol_is_continued_after_a_kill(jobs, raced, here):
    process = launched(*adaptive("runs/one", "--jobs", jobs), new_session=True)
    wait_for_start(here / "runs" / "one")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (here / "runs" / "one" / "result.json").exists()
    finished(launched(*adaptive("runs/one", "--jobs", jobs, "--resume", "--quiet")))
    assert stable(here / "runs" / "one") == raced
