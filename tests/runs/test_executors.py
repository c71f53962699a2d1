import os
import subprocess
import sys
import time

import pytest
import torch

from holdfast.core.errors import HoldfastError, InputError
from holdfast.runs import Run, Shard, agree, run_jobs


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("n", [0, 1, 5, 64, 131])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("block", [1, 4, 64])
def test_shards_hold_every_example_once_in_blocks(n, world, block):
    parts = [Shard(rank, world).rows(n, block) for rank in range(world)]
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))
    blocks = [sorted({i // block for i in part.tolist()}) for part in parts]
    for rank, part in enumerate(parts):
        assert part.dtype == torch.int64
        assert torch.equal(part, part.sort().values)
        assert blocks[rank] == list(range(rank, -(-n // block), world))


def test_the_place_comes_from_the_launcher(monkeypatch):
    assert Shard.current() == Shard(0, 1)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="WORLD_SIZE=None"):
        Shard.current()
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert Shard.current() == Shard(2, 3)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(InputError, match="rank=3"):
        Shard.current()
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(InputError, match="RANK='x'"):
        Shard.current()
    with pytest.raises(InputError, match="world=0"):
        Shard(0, 0)
    with pytest.raises(InputError, match="block=0"):
        Shard().rows(3, 0)


def test_current_place_needs_no_torch():
    code = (
        "import sys, holdfast.runs as r; r.Shard.current(); r.run_jobs; r.Run; r.Ranks; r.Metrics"
    )
    code += "; r.Journal; assert not {'torch', 'numpy', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


JOBS = """
import os, sys, time
from holdfast.core.errors import InputError, RunConflict
from holdfast.runs import Journal, Ranks, Run, Shard, run_jobs

def place(word):
    shard = Shard.current()
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS", "LOCAL_RANK")
    return [word, shard.rank, shard.world, os.getpid(), *map(os.environ.get, names)]

def fail(folder, kind):
    rank = Shard.current().rank
    if rank == 1:
        while not os.path.exists(folder + "/started"):
            time.sleep(0.005)
        if kind == "input":
            raise InputError("eps", (1, 2), "is wrong", "mend it")
        if kind == "conflict":
            raise RunConflict("in use")
        if kind == "value":
            raise ValueError("bad", 3)
        if kind == "odd":
            class Odd(Exception): pass
            raise Odd("strange")
        if kind == "exit":
            sys.exit(3)
        if kind == "killed":
            os.kill(os.getpid(), 9)
        if kind == "unsendable":
            return lambda: None
    try:
        open(folder + "/started", "w").close()
        time.sleep(60)
    except KeyboardInterrupt:
        open(folder + "/saved", "w").close()
        raise

def echo(folder):
    rank = Shard.current().rank
    if rank == 0:
        raise RunConflict("rank 1 ended")
    time.sleep(0.1)
    raise InputError("eps", 1, "is wrong", "mend it")

def share(folder):
    shard = Shard.current()
    run = Run.open(folder)
    with Ranks(run.ranks, shard) as ranks:
        with Journal(run.journal, rank=shard.rank) as journal:
            journal.append("a", {"index": shard.rows(23, block=4)})
        if ranks.gather("a"):
            return journal.read("a")["index"].tolist()

def sleep(folder):
    rank = str(Shard.current().rank)
    try:
        open(os.path.join(folder, "started" + rank), "w").close()
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.1)
        open(os.path.join(folder, "saved" + rank), "w").close()
        raise

if __name__ == "__main__":
    run_jobs(sleep, [sys.argv[1]], 2)
"""


@pytest.fixture(scope="module")
def jobs_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "holdfast_test_jobs.py").write_text(JOBS)
    sys.path.insert(0, str(folder))
    import holdfast_test_jobs

    yield holdfast_test_jobs
    sys.path.remove(str(folder))
    del sys.modules["holdfast_test_jobs"]


def test_jobs_run_in_processes_of_their_own_that_know_their_place(jobs_module):
    before = dict(os.environ)
    got = run_jobs(jobs_module.place, ["hello"], 2)
    assert [answer[:3] for answer in got] == [["hello", 0, 2], ["hello", 1, 2]]
    assert [answer[4:] for answer in got] == [["PASSIVE", "1", "0"], ["PASSIVE", "1", "1"]]
    assert len({os.getpid(), *(answer[3] for answer in got)}) == 3
    assert dict(os.environ) == before


def test_one_job_runs_here(jobs_module):
    assert run_jobs(jobs_module.place, ["hello"], 1)[0][:4] == ["hello", 0, 1, os.getpid()]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("input", InputError, r"^eps=\(1, 2\): is wrong; mend it$"),
        ("value", ValueError, r"\('bad', 3\)"),
        ("exit", RuntimeError, "SystemExit: 3"),
        ("killed", HoldfastError, "process 1 was killed by signal 9.*--resume"),
        pytest.param("conflict", HoldfastError, "^in use$", marks=pytest.mark.slow),
        pytest.param("odd", RuntimeError, "Odd: strange", marks=pytest.mark.slow),
        pytest.param("unsendable", Exception, "pickle", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_an_error_comes_back_and_the_others_stop_and_save(
    jobs_module, tmp_path, kind, error, words
):
    began = time.monotonic()
    with pytest.raises(error, match=words) as caught:
        run_jobs(jobs_module.fail, [str(tmp_path), kind], 2)
    assert time.monotonic() - began < 20
    assert (tmp_path / "saved").exists()
    if kind == "value":
        assert 'raise ValueError("bad", 3)' in caught.value.__notes__[0]


def test_the_cause_is_heard_before_its_echo(jobs_module):
    with pytest.raises(InputError, match="eps=1"):
        run_jobs(jobs_module.echo, [""], 2)


@pytest.mark.slow
def test_jobs_share_the_work_and_rank_0_reads_it_all(jobs_module, tmp_path):
    run = Run.create("evaluate", "cnn", "digits", root=tmp_path)
    assert run_jobs(jobs_module.share, [str(run.path)], 3) == [list(range(23)), None, None]


def test_what_cannot_be_sent_is_refused(jobs_module, monkeypatch):
    with pytest.raises(InputError, match=r"target=.*pickle"):
        run_jobs(lambda: None, [], 2)
    with pytest.raises(InputError, match="jobs=0"):
        run_jobs(jobs_module.place, ["x"], 0)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"jobs=2.*torchrun"):
        run_jobs(jobs_module.place, ["x"], 2)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGKILL"])
def test_stopping_or_killing_the_parent_stops_the_jobs_which_save(jobs_module, tmp_path, signal):
    import signal as signals

    process = subprocess.Popen(
        [sys.executable, jobs_module.__file__, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with process:
        wait_for(tmp_path, "started0", "started1")
        process.send_signal(getattr(signals, signal))
        wait_for(tmp_path, "saved0", "saved1")


def wait_for(folder, *names):
    deadline = time.monotonic() + 20
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < deadline, sorted(path.name for path in folder.iterdir())
        time.sleep(0.01)


@pytest.mark.slow
def test_ranks_of_torchrun_agree_and_share_the_work(tmp_path):
    (tmp_path / "job.py").write_text("""
import sys, torch
from holdfast.runs import Journal, Ranks, Run, Shard, agree
from holdfast.runs.lock import lock
shard = Shard.current()
made = str(Run.create("evaluate", "cnn", "digits", root=sys.argv[1]).path) if not shard.rank else ""
assert agree("a" if shard.rank == 0 else "b", shard) == "a"
run = Run.open(agree(made, shard))
with lock(run, shared=True), Ranks(run.ranks, shard) as ranks:
    run.settings({"world": shard.world})
    with Journal(run.journal, rank=shard.rank) as journal:
        journal.append("a", {"index": shard.rows(23, block=4)})
    if ranks.gather("a"):
        run.write_result({"index": journal.read("a")["index"]})
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(tmp_path / "job.py"), str(tmp_path / "runs")],
        capture_output=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr.decode()
    run = Run.open(tmp_path / "runs" / "evaluate-cnn-digits-1")
    assert run.read_result()["index"] == list(range(23))


def test_agreeing_needs_a_launcher_only_among_several():
    assert agree("alone", Shard()) == "alone"
    with pytest.raises(InputError, match="MASTER_ADDR"):
        agree("x", Shard(1, 2))
