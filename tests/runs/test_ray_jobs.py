"""Calls on Ray: with a stand-in for its few functions, and with the real one where it is."""

import os
import signal
import sys
import types

import pytest

from holdfast.core.errors import HoldfastError, InputError, MissingExtra
from holdfast.runs.ray_jobs import run_on_ray
from holdfast.runs.worker import Answer


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "RAY_ADDRESS", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.delenv(name, raising=False)


class Lost(Exception):
    pass


class StandIn(types.ModuleType):
    """A Ray that works when it is waited for, from the last call to the first."""

    def __init__(self, started=False):
        super().__init__("ray")
        self.exceptions = types.SimpleNamespace(RayError=Lost)
        self.started, self.told, self.asked, self.cancelled = started, [], {}, []

    def is_initialized(self):
        return self.started

    def init(self, **options):
        self.told.append(("init", options, os.environ["RAY_USAGE_STATS_ENABLED"]))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.started = True

    def shutdown(self):
        self.told.append("shutdown")
        self.started = False

    def remote(self, function):
        def ask(*arguments):
            self.asked[len(self.asked)] = (function, arguments)
            return len(self.asked) - 1

        def options(**given):
            self.told.append(given)
            return types.SimpleNamespace(remote=ask)

        return types.SimpleNamespace(options=options)

    def wait(self, waiting, num_returns):
        assert num_returns == 1
        print("(raylet) a worker died")
        return [max(waiting)], [each for each in waiting if each != max(waiting)]

    def get(self, reference):
        function, arguments = self.asked[reference]
        return function(*arguments)

    def cancel(self, reference, force):
        assert force
        self.cancelled.append(reference)


@pytest.fixture
def ray(monkeypatch):
    made = StandIn()
    monkeypatch.setitem(sys.modules, "ray", made)
    return made


def scaled(value, by=10):
    if value < 0:
        raise Lost("killed\nby hand")
    if value == 7:
        raise KeyError("no", value)
    if value == 8:
        raise InputError("eps", (1, value), "is wrong", "mend it")
    return value * by


def test_results_are_in_the_order_of_the_calls_and_told_as_they_come(ray, capsys):
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    told = []
    calls = [(3,), (1, 2), (5,)]
    found = run_on_ray(scaled, calls, threads=2, on_result=lambda *each: told.append(each))
    assert found == [30, 2, 50]
    assert told == [(2, 50), (1, 2), (0, 30)]
    init, task, end = ray.told
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    assert init == ("init", quiet, "0")
    assert task["num_cpus"] == 2
    assert task["max_retries"] > 0
    assert task["runtime_env"]["env_vars"]["OMP_WAIT_POLICY"] == "PASSIVE"
    assert task["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "2"
    assert end == "shutdown"
    assert ray.cancelled == []
    assert (dict(os.environ), signal.getsignal(signal.SIGTERM)) == (before, handler)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a worker died" in captured.err


def test_a_ray_of_the_caller_is_left_running(monkeypatch):
    made = StandIn(started=True)
    monkeypatch.setitem(sys.modules, "ray", made)
    assert run_on_ray(scaled, [(2,)]) == [20]
    assert len(made.told) == 1
    assert made.started


def test_without_calls_no_ray_is_started(ray):
    assert run_on_ray(scaled, []) == []
    assert ray.told == []


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [(7, KeyError, "no"), (8, InputError, r"^eps=\(1, 8\): is wrong; mend it$")],
)
def test_an_error_comes_back_and_the_other_calls_are_dropped(ray, value, error, words):
    with pytest.raises(error, match=words) as caught:
        run_on_ray(scaled, [(1,), (2,), (value,), (3,)])
    assert ray.cancelled == [0, 1]
    assert ray.told[-1] == "shutdown"
    if error is KeyError:
        assert 'raise KeyError("no", value)' in caught.value.__notes__[0]


def test_an_interrupt_drops_what_is_open_and_ends_ray(ray):
    def stop(place, result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_ray(scaled, [(1,), (2,)], on_result=stop)
    assert ray.cancelled == [0]
    assert ray.told[-1] == "shutdown"


def test_a_lost_call_costs_no_other_its_result(ray, monkeypatch):
    def get(reference):
        return Answer(result=scaled(*ray.asked[reference][1][1]))

    told = []
    monkeypatch.setattr(ray, "get", get)
    words = r"^Ray has no answer to 2 of 4 calls, first of all number 1 \(Lost: killed by hand\);"
    with pytest.raises(HoldfastError, match=words + ".*--resume$"):
        run_on_ray(scaled, [(4,), (-1,), (6,), (-2,)], on_result=lambda *each: told.append(each))
    assert told == [(2, 60), (0, 40)]


def test_what_cannot_be_sent_is_refused(ray, monkeypatch):
    def refuse(*arguments):
        raise TypeError("Could not\nserialize")

    options = types.SimpleNamespace(options=lambda **given: types.SimpleNamespace(remote=refuse))
    monkeypatch.setattr(ray, "remote", lambda function: options)
    with pytest.raises(InputError, match=r"cannot be sent to a worker \(Could not serialize\)"):
        run_on_ray(scaled, [(1,)])
    assert ray.told[-1] == "shutdown"


def test_a_ray_that_cannot_be_reached_is_one_line(ray, monkeypatch):
    def fail(**options):
        raise ConnectionError("no\ncluster")

    monkeypatch.setattr(ray, "init", fail)
    words = r"^Ray is not there \(ConnectionError: no cluster\); check RAY_ADDRESS"
    with pytest.raises(HoldfastError, match=words):
        run_on_ray(scaled, [(1,)])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:999999"])
def test_an_address_where_nothing_answers_is_refused_at_once(ray, monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match=rf"^RAY_ADDRESS='{address}': is not reached \("):
        run_on_ray(scaled, [(1,)])
    assert ray.told == []


def test_other_forms_of_an_address_are_for_ray_to_read(ray, monkeypatch):
    for address in ("auto", "local", "ray://127.0.0.1:1", "host"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert run_on_ray(scaled, [(1,)]) == [10]


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'holdfast\[ray\]'"):
        run_on_ray(scaled, [(1,)])


def test_torchrun_and_ray_are_two_ways(ray, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="torchrun"):
        run_on_ray(scaled, [(1,)])


WORK = """
import os, time
from holdfast.core.errors import InputError

def place(word):
    names = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    return [word, *map(os.environ.get, names), os.getpid()]

def die(folder, number, times):
    for i in range(times):
        mark = os.path.join(folder, f"{number}-{i}")
        if not os.path.exists(mark):
            open(mark, "w").close()
            os._exit(3)
    if number == 9:
        raise InputError("eps", number, "is wrong", "mend it")
    return number
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A module that workers can import, too."""
    pytest.importorskip("ray")
    (tmp_path / "holdfast_test_ray.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.pathsep.join(sys.path)}")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or busy cores let them starve
    monkeypatch.syspath_prepend(str(tmp_path))
    import holdfast_test_ray

    yield holdfast_test_ray
    del sys.modules["holdfast_test_ray"]


@pytest.mark.slow
def test_a_real_ray_makes_calls_again_whose_worker_died(work, tmp_path, capsys):
    import ray

    told = []
    calls = [(str(tmp_path), 0, 0), (str(tmp_path), 1, 1), (str(tmp_path), 2, 99)]
    with pytest.raises(HoldfastError, match=r"1 of 3 calls, first of all number 2 .*--resume$"):
        run_on_ray(work.die, calls, on_result=lambda *each: told.append(each))
    assert sorted(told) == [(0, 0), (1, 1)]
    assert not ray.is_initialized()
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_workers_of_a_real_ray_have_their_threads_and_send_back_errors(work, tmp_path):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        found = run_on_ray(work.place, [("a",), ("b",), ("c",)], threads=1)
        assert [each[:3] for each in found] == [[word, "PASSIVE", "1"] for word in "abc"]
        assert os.getpid() not in [each[3] for each in found]
        with pytest.raises(InputError, match=r"^eps=9: is wrong; mend it$"):
            run_on_ray(work.die, [(str(tmp_path), 9, 0), (str(tmp_path), 3, 0)])
        assert ray.is_initialized()
    finally:
        ray.shutdown()
