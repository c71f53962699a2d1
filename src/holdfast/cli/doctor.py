"""`holdfast doctor`: what is installed, what is found, and whether it works; ready to paste."""

import time
from typing import Any

from holdfast.cli import options, output

EXAMPLES = """\b
Examples:
  holdfast doctor
  holdfast doctor --json
"""
EXTRAS = {
    "data": ("datasets", "huggingface_hub"),
    "vision": ("torchvision", "timm"),
    "onnx": ("onnx", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "ray": ("ray",),
    "blackbox": ("cma", "botorch"),
}
PACKAGES = ("scipy", "sklearn", "pyarrow", "safetensors", "matplotlib", "jinja2", "tomli_w", "rich")


def doctor(json: options.Json = False) -> int:
    """Tell versions, devices, threads, extras and data, and test the installation."""
    found = examine()
    if json:
        output.emit_json(found)
    else:
        output.emit("\n".join(_lines(found)))
    return 0 if found["self_test"]["passed"] else 3


def examine() -> dict[str, Any]:
    """Everything that the doctor tells, as plain data."""
    import warnings

    from holdfast.runs.environment import environment

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "environment": environment(),
            "packages": {name: _state(name, "dev") for name in PACKAGES},
            "extras": {
                extra: {name: _state(name, extra) for name in names}
                for extra, names in EXTRAS.items()
            },
            "data": _data(),
            "self_test": self_test(),
        }


def self_test(count: int = 200) -> dict[str, Any]:
    """FGSM on linear classifiers against the closed form, and interval bounds against both.

    Args:
        count: of examples.

    Returns:
        `passed`, `detail`, `seconds`.
    """
    import torch

    from holdfast.facades import evaluate
    from holdfast.toys.linear import LinearWorld

    began = time.perf_counter()
    world = LinearWorld.make(0, 2, 30)
    x, y = world.sample(0, count)
    radius = 0.05
    found = evaluate(
        world.module(), (x, y), f"linf:{radius},box=none", attacks="fgsm", device="cpu"
    )
    margin = world.exact_margin(x, y, p=float("inf"), radius=radius)
    near = int((margin.abs() < 1e-5).sum())
    exact = int((margin > 0).sum())
    robust = round(found.robust_accuracy * count)
    certified = round((found.certified_accuracy or 0.0) * count)
    passed = abs(robust - exact) <= near and abs(certified - exact) <= near
    detail = f"robust {robust}, certified {certified}, exactly {exact} of {count}"
    seconds = time.perf_counter() - began
    return {"passed": passed and bool(torch.isfinite(margin).all()), "detail": detail} | {
        "seconds": seconds
    }


def _state(package: str, extra: str) -> str:
    """The version of a package, or why it cannot be imported."""
    from holdfast.core.errors import MissingExtra
    from holdfast.core.optional import optional

    try:
        module = optional(package, extra=extra)
    except MissingExtra as error:
        cause = error.__cause__
        return f"absent ({type(cause).__name__}: {' '.join(str(cause).split())[:100]})"
    return str(getattr(module, "__version__", "present"))


def _data() -> dict[str, str]:
    """Where each named data set is found."""
    from holdfast.core.errors import HoldfastError
    from holdfast.data.catalogue import DATASETS
    from holdfast.data.find import VARIABLE, data_folder

    try:
        folder = data_folder()
    except HoldfastError as error:
        return {"folder": str(error)}
    told = {"folder": str(folder) if folder else f"none: set {VARIABLE}, or give --data-dir"}
    if folder is not None:
        below = sorted(each.name for each in folder.iterdir() if each.is_dir())
        told["in it"] = ", ".join(below) or "nothing"
    told["embedded"] = "digits"
    told["known"] = ", ".join(DATASETS)
    return told


def _lines(found: dict[str, Any]) -> list[str]:
    """The findings as text."""
    lines = [f"{key}: {value}" for key, value in found["environment"].items()]
    if found["environment"]["omp_wait_policy"] != "PASSIVE":
        lines.append("  hint: OMP_WAIT_POLICY=PASSIVE is much faster on cores that are shared")
    lines += ["packages:"] + [f"  {name}: {text}" for name, text in found["packages"].items()]
    lines.append("extras:")
    for extra, states in found["extras"].items():
        lines.append(f"  {extra}: " + "; ".join(f"{name} {text}" for name, text in states.items()))
    lines += ["data:"] + [f"  {name}: {text}" for name, text in found["data"].items()]
    test = found["self_test"]
    word = "passed" if test["passed"] else "FAILED"
    lines.append(f"self-test: {word} ({test['detail']}; {test['seconds']:.1f} s)")
    return lines
