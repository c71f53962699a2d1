"""The entry: light start, help with examples that run, exit codes, colours, interrupts."""

import re
import shlex
import subprocess
import sys
import time

import pytest
import typer
from typer.main import get_command

from holdfast.cli import main as entry
from holdfast.cli.main import build, main
from holdfast.cli.running import Interrupted

LIGHT = [
    ["--help"],
    ["--version"],
    ["evaluate", "--help"],
    ["gate", "--help"],
    *([noun, "list"] for noun in ("recipes", "threats", "attacks", "models", "data", "bounds")),
    ["attacks", "list", "--json"],
    ["cite", "pgd"],
]


def test_help_and_lists_load_neither_torch_nor_numpy():
    script = (
        "import sys\n"
        "from holdfast.cli.main import main\n"
        f"for argv in {LIGHT!r}:\n"
        "    assert main(argv) == 0, argv\n"
        "    heavy = {'torch', 'numpy', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "    assert not heavy, (argv, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_fast():
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "holdfast", "--help"], capture_output=True)
        times.append(time.perf_counter() - began)
        assert done.returncode == 0
    assert min(times) < 1.5  # 0.2 s on an idle machine


def commands(group=None, path=()):
    """Every command and group with its path."""
    group = group or get_command(build())
    yield path, group
    for name, inner in getattr(group, "commands", {}).items():
        yield from commands(inner, (*path, name))


ALL = {" ".join(path) or "holdfast": command for path, command in commands()}


def examples(command):
    """The examples in a command's help."""
    return re.findall(r"^ +holdfast (.*)$", command.epilog or "", re.MULTILINE)


@pytest.mark.parametrize("name", ALL)
def test_help_ends_with_two_examples(name, run_command):
    path = [] if name == "holdfast" else name.split()
    answer = run_command(*path, "--help")
    assert answer.code == 0
    assert len(examples(ALL[name])) == 2
    shown = " ".join(answer.out.split())
    assert all(f"holdfast {example}" in shown for example in examples(ALL[name]))


QUICK = {"train": 0, "evaluate": 1, "gate": 8, "quickstart": 9}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_examples_run(here, run_command):
    import torch

    torch.save({"w": torch.ones(2)}, here / "net.pt")
    torch.save({"w": torch.ones(2)}, here / "a.pt")
    (here / "net.safetensors").unlink()
    something_to_verify(here)
    known = [(name, text) for name in sorted(ALL, key=order) for text in examples(ALL[name])]
    assert run_command("train", "digits-standard", *SHORT, "--run", "runs/mine").code == 0
    options = (
        "--model",
        "runs/mine",
        "--limit",
        "100",
        "--attacks",
        "fgsm",
        "--threat",
        "linf:0.1",
    )
    assert run_command("evaluate", *options, "--run", "runs/second").code == 0
    for name, text in known:
        arguments = shlex.split(text)
        if arguments == shlex.split(examples(ALL["train"])[0]):
            arguments[-1] = "runs/again"
        answer = run_command(*arguments)
        assert answer.code in ((0, 1) if name == "gate" else (0,)), (text, answer.err)


def something_to_verify(folder):
    """|x| <= 1 implies relu(x) >= -0.5, as a network, a property and a list of one query."""
    from certify.onnx_nets import make_node, model, saved

    saved(model([make_node("Relu", ["x"], ["y"])], [1, 1]), folder)
    names = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n"
    claims = "(assert (>= X_0 -1))\n(assert (<= X_0 1))\n(assert (<= Y_0 -0.5))\n"
    (folder / "property.vnnlib").write_text(names + claims)
    row = "net.onnx,property.vnnlib,60,holds"
    (folder / "instances.csv").write_text(f"network,property,timeout_s,verdict\n{row}\n")


SHORT = ("--set", "training.epochs=1", "--set", "data.validation=50", "--quiet")


def order(name):
    return QUICK.get(name, 5), name


def test_no_arguments_show_the_help(run_command):
    answer = run_command()
    assert answer.code in (0, 2)
    assert "quickstart" in answer.out + answer.err


def test_the_version_is_told(run_command):
    from holdfast import __version__

    assert run_command("--version").out == f"holdfast {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
        (Interrupted("holdfast train x --resume"), 130, "continue with: holdfast train x --resume"),
        (OSError(28, "No space left on device", "x"), 2, "error: 'x': No space left on device"),
        (RuntimeError("odd\nthing"), 3, "error: RuntimeError: odd thing; this is a fault"),
    ],
)
def test_what_a_verb_raises_becomes_a_code_and_a_line(error, code, line, run_command, monkeypatch):
    def fail(names):
        raise error

    monkeypatch.setattr(entry.cite, "papers", fail)
    answer = run_command("cite", "pgd")
    assert answer.code == code
    assert line in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_signal_in_a_verb_is_an_interrupt(run_command, monkeypatch):
    import os
    import signal

    def stopped(names):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(entry.cite, "papers", stopped)
    assert run_command("cite", "pgd").code == 130
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_the_surroundings_are_restored(run_command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    path = list(sys.path)
    seen = {}

    def look(names):
        import os

        seen.update(path=str(tmp_path) in sys.path, colour=os.environ.get("NO_COLOR"))
        return []

    monkeypatch.setattr(entry.cite, "papers", look)
    assert run_command("cite", "pgd", "--no-color").code == 0
    assert seen == {"path": True, "colour": "1"}
    assert sys.path == path
    assert main(["cite", "pgd"]) == 0
    assert seen["colour"] is None


def test_the_module_runs_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "cite", "nobody"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: name='nobody'")


def test_an_interrupt_within_executed_text_is_exit_code_130_too(tmp_path):
    (tmp_path / "stopped.py").write_text(
        "import sys\n"
        "from holdfast.cli import main\n"
        "def stopped(*given, **more):\n"
        "    exec('raise KeyboardInterrupt')\n"
        "main._run = stopped\n"
        "sys.exit(main.main(['doctor']))\n"
    )
    command = [sys.executable, "-m", "stopped"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (130, "interrupted\n")
