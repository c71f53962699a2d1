"""A folder to work in, the command in this process, a small trained network and two runs."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from holdfast.cli.main import main
from holdfast.facades import evaluate
from holdfast.models import build_model, save_model


@dataclass
class Answer:
    """Exit code, stdout and stderr of a command."""

    code: int
    out: str
    err: str


def fitted(seed=0):
    """A linear classifier of the digits, fitted a little."""
    from holdfast.data import load_data

    data = load_data("digits", "train")
    model = build_model("mlp", seed=seed, input_shape=(1, 8, 8), hidden=(16,)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    x, y = data.inputs(), data.labels
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Files that tests copy: net.safetensors, other.safetensors, and the runs `a` and `b`."""
    folder = tmp_path_factory.mktemp("store")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, seed, attacks in (("a", 0, "fgsm"), ("b", 1, "fgsm,pgd-3-1")):
        model = fitted(seed)
        file = "net" if name == "a" else "other"
        save_model(folder / f"{file}.safetensors", model)
        options = {"attacks": attacks, "limit": 40, "run": folder / "runs" / name}
        evaluate(model, "digits", "linf:0.05", **options, notes={"command": "holdfast evaluate"})
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """The current folder, empty but for the store's files."""
    shutil.copytree(store, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run_command(capsys, monkeypatch):
    """Runs the command in this process."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments):
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def files(folder: Path) -> dict[str, int]:
    """All files and folders below, with their sizes."""
    return {
        os.path.relpath(path, folder): path.stat().st_size if path.is_file() else -1
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


@pytest.fixture
def listing(here):
    """What is in the current folder, each time it is called."""
    return lambda: files(here)
