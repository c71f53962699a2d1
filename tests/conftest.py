"""What every test runs under: quiet threads, a data folder if there is one, no stray state."""

import os
import signal

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is imported

from pathlib import Path

import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

DEFAULT_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the local data sets; skips where it is absent."""
    named = os.environ.get("HOLDFAST_DATA")
    folder = Path(named) if named else DEFAULT_DATA
    if not folder.is_dir():
        pytest.skip("no data folder: set HOLDFAST_DATA, or put it at ../shared/data")
    return folder


@pytest.fixture(autouse=True)
def _strict_floats():
    """Restores what a test may have set globally, and fails it if it changed how floats behave."""
    dtype = torch.get_default_dtype()
    generator = torch.get_rng_state()
    yield
    found = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_anomaly_enabled())
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(True)
    torch.autograd.set_detect_anomaly(False)
    torch.set_rng_state(generator)
    assert found == (dtype, True, False), "a test left a global setting of torch changed"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine cannot run."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def pytest_configure() -> None:
    """The same on every machine: no denormals flushed, no reduced precision on a GPU, and an
    interrupt that is heard, also by processes that tests start (background jobs inherit a deaf
    one)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_flush_denormal(False)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
