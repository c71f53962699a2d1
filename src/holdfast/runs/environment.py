"""What a result was computed with: versions, device, threads. No host names, users or paths."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import holdfast


def environment() -> dict[str, Any]:
    """The versions and hardware of this process, for a record; plain data.

    Returns:
        `holdfast`, `python`, `torch`, `numpy` versions (None where absent), `platform` (system and
        architecture), `cpu` (model), `cores` (that this process may use), `threads` (of torch),
        `gpus` (names), `cuda` (version torch was built with, or None), `omp_wait_policy`.
    """
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "holdfast": holdfast.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": _version("numpy"),
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
        "cuda": torch.version.cuda,
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's model name, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _cores() -> int:
    """How many cores this process may run on; fewer than the machine has under a scheduler."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
