import subprocess
import sys
import threading
import time

import pytest

from holdfast.core.errors import RunConflict
from holdfast.runs import Ranks, Shard

OTHER = """
import sys, time
from holdfast.core.errors import InputError
from holdfast.runs import Ranks, Shard
with Ranks(sys.argv[1], Shard(1, 2)) as ranks:
    print("here", flush=True)
    sys.stdin.readline()
    if sys.argv[2] == "fail":
        raise InputError("model", "x", "is broken", "mend it")
    print(ranks.gather("attack"), flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    started = []

    def start(what):
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        assert process.stdout.readline() == b"here\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go_on(process):
    process.stdin.write(b"\n")
    process.stdin.flush()


def test_one_rank_waits_for_nobody_and_writes_nothing(tmp_path):
    with Ranks(tmp_path / "ranks", Shard()) as ranks:
        assert ranks.gather("attack")
        ranks.barrier("attack")
    assert not (tmp_path / "ranks").exists()


def test_rank_0_goes_on_when_the_other_is_done(tmp_path, other):
    process = other("work")
    threading.Timer(0.2, go_on, [process]).start()
    with Ranks(tmp_path, Shard(0, 2)) as ranks:
        began = time.monotonic()
        assert ranks.gather("attack")
        assert 0.1 < time.monotonic() - began < 5
        assert process.stdout.readline() == b"False\n"
        go_on(process)
        process.wait()
        ranks.barrier("attack")  # done is done, also of a rank that has ended


def test_a_killed_rank_ends_the_wait_at_once(tmp_path, other):
    process = other("work")
    threading.Timer(0.2, process.kill).start()
    with Ranks(tmp_path, Shard(0, 2)) as ranks:
        began = time.monotonic()
        with pytest.raises(RunConflict, match=r"rank 1 ended before it finished attack;.*--resume"):
            ranks.gather("attack")
        assert time.monotonic() - began < 5


def test_a_failed_rank_is_quoted(tmp_path, other):
    process = other("fail")
    threading.Timer(0.1, go_on, [process]).start()
    words = r"rank 1 .* attack \(model='x': is broken; mend it"
    with Ranks(tmp_path, Shard(0, 2)) as ranks, pytest.raises(RunConflict, match=words):
        ranks.gather("attack")


def test_a_failure_of_this_launch_counts_though_the_rank_was_never_seen(tmp_path):
    with Ranks(tmp_path, Shard(0, 2)) as ranks:
        with pytest.raises(KeyError), Ranks(tmp_path, Shard(1, 2)):
            raise KeyError("gone")
        with pytest.raises(RunConflict, match="KeyError: 'gone'"):
            ranks.gather("attack")


def test_a_failure_of_an_earlier_launch_does_not_count(tmp_path):
    with pytest.raises(KeyError), Ranks(tmp_path, Shard(1, 2)):
        raise KeyError("long ago")
    time.sleep(0.02)
    with Ranks(tmp_path, Shard(0, 2), start=0.3) as ranks:
        with pytest.raises(RunConflict, match=r"rank 1 did not appear in 0.3 seconds"):
            ranks.gather("attack")
        threading.Timer(0.1, lambda: Ranks(tmp_path, Shard(1, 2)).__enter__().gather("a")).start()
        assert ranks.gather("a")


def test_a_slow_rank_is_waited_for_no_longer_than_asked(tmp_path, other):
    other("work")
    ranks = Ranks(tmp_path, Shard(0, 2), timeout=0.2)
    with ranks, pytest.raises(RunConflict, match=r"rank 1 did not finish attack in 0\.2 seconds"):
        ranks.gather("attack")


def test_a_rank_exists_once(tmp_path, other, monkeypatch):
    other("work")
    monkeypatch.setattr("holdfast.runs.ranks.time.sleep", lambda _: None)
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr("holdfast.runs.ranks.time.monotonic", lambda: next(clock))
    with pytest.raises(RunConflict, match=r"rank 1 of this run is already at work"):
        Ranks(tmp_path, Shard(1, 2)).__enter__()


def test_marks_of_another_number_of_ranks_do_not_count(tmp_path):
    for shard in (Shard(1, 2), Shard(2, 3)):
        with Ranks(tmp_path, shard) as ranks:
            assert not ranks.gather("attack")
    ranks = Ranks(tmp_path, Shard(0, 3), start=0.1)
    with ranks, pytest.raises(RunConflict, match=r"rank 1 did not appear"):
        ranks.gather("attack")


def test_without_locks_only_the_timeout_ends_the_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.runs.ranks.flock", lambda handle, kind: True)
    ranks = Ranks(tmp_path, Shard(0, 2), start=0.0, timeout=0.2)
    with ranks, pytest.raises(RunConflict, match="did not finish"):
        ranks.gather("attack")
