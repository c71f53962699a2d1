"""Quick runs of the reproductions, with the small network of the digits trained once."""

import shutil

import pytest
import torch

from holdfast.reproduce import REPRODUCTIONS, run
from holdfast.reproduce.subjects import DIGITS, Place
from holdfast.runs import Run


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A folder with the checkpoint of the quick subject."""
    folder = tmp_path_factory.mktemp("store")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    DIGITS.load(Place(store=folder), 2)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def quickly(store, tmp_path):
    """Runs an entry at its quick size; returns the finding and the run."""
    numbers = iter(range(99))

    def call(name, **options):
        entry = REPRODUCTIONS[name].load() if isinstance(name, str) else name
        kept = Run.create("reproduce", entry.id, "quick", path=tmp_path / f"run{next(numbers)}")
        shutil.copytree(store, kept.checkpoints)
        return run(entry, kept, size="quick", **options), kept

    return call
