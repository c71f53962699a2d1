"""`holdfast verify` as a command, on networks of a verification competition."""

import json
import os
import signal
import subprocess
import sys

import pytest

from holdfast.cli import verify as module


@pytest.fixture(autouse=True)
def own_forward(monkeypatch):
    """The same replay wherever the tests run."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.fixture
def folder(data_dir):
    pytest.importorskip("onnx")
    found = data_dir / "vnncomp2021"
    if not found.is_dir():
        pytest.skip("no networks of the competition")
    return found


def some_list(folder, tmp_path, *names):
    head, *lines = (folder / "instances.csv").read_text().splitlines()
    chosen = [line for line in lines if any(f"test_{name}.onnx" in line for name in names)]
    rows = [line.split(",") for line in chosen]
    path = tmp_path / "some.csv"
    body = [f"{folder / net},{folder / spec},{t},{v}" for net, spec, t, v in rows]
    path.write_text("\n".join([head, *body]) + "\n")
    return path


def test_a_verdict_is_an_exit_code_and_a_run(folder, run_command, tmp_path):
    for net, spec, code in (("nano", "nano", 0), ("sat", "prop", 1)):
        run, file = tmp_path / net, tmp_path / f"{net}.txt"
        answer = run_command(
            *("verify", folder / f"test/test_{net}.onnx", folder / f"test/test_{spec}.vnnlib"),
            *("--run", run, "--counterexample", file, "--json"),
        )
        found = json.loads(answer.out)
        assert answer.code == code
        assert found["verdict"] == ("holds", "violated")[code]
        assert found["proved"]
        assert (run / "result.json").is_file()
        assert (run / "report.html").is_file()
        assert file.exists() == bool(code)
        if code:
            kept = run / found["counterexample_file"]
            assert kept.read_text() == file.read_text()
            assert found["replay"]["by"] == "float64 forward"
            assert found["replay"]["confirmed"]


def test_a_violation_is_shown_with_its_replay(folder, run_command, tmp_path):
    files = folder / "test/test_sat.onnx", folder / "test/test_prop.vnnlib"
    answer = run_command("verify", *files, "--run", tmp_path / "run")
    assert answer.out.startswith("violated by attack")
    assert "replayed by float64 forward: confirmed" in answer.out
    assert "((X_0 " in answer.out
    assert answer.out.rstrip().endswith(f"run: {tmp_path / 'run'}")


def test_a_list_is_answered_and_goes_on(folder, run_command, tmp_path):
    listed = some_list(folder, tmp_path, "nano", "sat")
    arguments = ("verify", "--instances", listed, "--run", tmp_path / "kept")
    first = run_command(*arguments, "--json")
    again = run_command(*arguments, "--resume", "--json", "--out", tmp_path / "copy.json")
    assert first.code == again.code == 0
    found = json.loads(first.out)
    assert found["queries"] == json.loads(again.out)["queries"]
    assert found["counts"] == {"holds": 1, "violated": 1, "timeout": 0, "unknown": 0}
    assert len(found["cactus"]) == 2
    assert json.loads((tmp_path / "copy.json").read_text())["queries"] == found["queries"]
    assert "test_nano" in first.err
    shown = run_command(*arguments, "--resume", "--quiet")
    assert "2 queries" in shown.out
    assert "1 holds, 1 violated" in shown.out
    assert shown.err == ""
    other = run_command(*arguments, "--resume", "--seed", "1")
    assert other.code == 2
    assert "seed=0" in other.err


def test_an_interrupted_list_says_how_to_go_on(folder, run_command, tmp_path, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    listed = some_list(folder, tmp_path, "nano")
    monkeypatch.setattr(module, "_list", stop)
    answer = run_command("verify", "--instances", listed, "--run", tmp_path / "kept")
    assert answer.code == 130
    assert f"--run {tmp_path / 'kept'} --resume" in answer.err


def launch(*arguments):
    """The command as a process with a session of its own, as in a terminal."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-m", "holdfast", *map(str, arguments)]
    return subprocess.Popen(command, start_new_session=True, **pipes)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
def test_a_list_on_ray_is_stopped_and_goes_on(folder, tmp_path, monkeypatch, how):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # or busy cores let the workers starve
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    listed = some_list(folder, tmp_path, "nano", "tiny", "small")
    long = f"{folder}/acasxu/ACASXU_run2a_1_2_batch_2000.onnx,{folder}/acasxu/prop_1.vnnlib"
    listed.write_text(f"{listed.read_text()}{long},3600,holds\n")
    run = tmp_path / "kept"
    arguments = ("verify", "--instances", listed, "--method", "crown", "--run", run, "--json")
    with launch(*arguments, "--ray") as process:
        lines = [process.stderr.readline() for _ in range(3)]
        os.killpg(process.pid, getattr(signal, how))
        out, err = process.communicate(timeout=60)
    assert all(line.startswith("holds") for line in lines)
    assert out == ""
    if how == "SIGINT":
        assert process.returncode == 130
        assert f"--run {run} --json --ray --resume" in err
    first = {file.name for file in (run / "journal").iterdir()}
    assert len(first) == 3
    with launch(*arguments, "--ray", "--resume") as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert [row["verdict"] for row in found["queries"]] == ["holds"] * 4
    assert found["ray"]
    assert first < {file.name for file in (run / "journal").iterdir()}


def test_what_is_missing_or_does_not_fit_is_one_line(run_command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    for arguments, said in (
        ((), "network=None: is missing"),
        (("net.onnx",), "property=None: is missing"),
        (("net.onnx", "p.vnnlib", "--instances", "x.csv"), "is given beside a network"),
        (("net.onnx", "p.vnnlib", "--timeout", "-1"), "is not positive"),
        (("net.onnx", "p.vnnlib", "--timeout", "nan"), "is not positive"),
        (("net.onnx", "p.vnnlib", "--method", "crwn"), "did you mean 'crown'"),
        (("net.onnx", "p.vnnlib", "--jobs", "2"), "is for a list"),
        (("net.onnx", "p.vnnlib", "--limit", "2"), "is for a list"),
        (("--instances", "x.csv", "--jobs", "0"), "is not positive"),
        (("net.onnx", "p.vnnlib", "--ray"), "ray=True: is for a list"),
        (("--instances", "x.csv", "--ray", "--jobs", "2"), "jobs=2: is given beside --ray"),
        (("--instances", "x.csv", "--ray"), "pip install 'holdfast[ray]'"),
        (("--instances", "x.csv", "--counterexample", "y"), "is given with a list"),
        (("--instances", "x.csv"), "cannot be read"),
        (("net.onnx", "p.vnnlib"), "cannot be read"),
    ):
        answer = run_command("verify", *arguments)
        assert answer.code == 2, arguments
        assert said in answer.err
        assert answer.err.count("\n") == 1
