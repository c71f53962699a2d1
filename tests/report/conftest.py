"""Run directories as evaluate and train write them, small and made by hand."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from holdfast.benchmark.checks import Checks
from holdfast.benchmark.protocol import Listed
from holdfast.benchmark.result import Evaluation, Point, summarise
from holdfast.core.frozen import FrozenModel
from holdfast.core.ledger import Ledger
from holdfast.core.results import AttackResult, Outcome
from holdfast.data.images import ImageData
from holdfast.models.weights import write_tensors
from holdfast.report.page import write_report
from holdfast.runs.directory import Run
from holdfast.runs.metrics import Metrics
from holdfast.threats.text import parse

COUNT, CLASSES, SHAPE = 37, 5, (1, 7, 6)


def _drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _data(names: tuple[str, ...]) -> ImageData:
    return ImageData(
        images=_drawn(0, COUNT, *SHAPE),
        labels=torch.arange(COUNT) % CLASSES,
        index=torch.arange(100, 100 + COUNT),
        classes=CLASSES,
        names=names,
        name="toy",
        split="test",
        scale=1,
        title="Toy <images>",
    )


def _found(at: torch.Tensor, broken: torch.Tensor) -> AttackResult:
    rows = len(at)
    margin = torch.where(broken, -0.3, 0.4) * (1 + _drawn(1, rows))
    return AttackResult(
        x_adv=_drawn(2, rows, *SHAPE),
        success=broken,
        margin=margin,
        size=torch.full((rows,), 0.1),
        loss=-margin,
        forwards=torch.full((rows,), 21),
        backwards=torch.full((rows,), 20),
        outcome=torch.where(broken, int(Outcome.BROKEN), int(Outcome.UNDECIDED)),
    )


def _evaluated(
    *,
    model: str = "net",
    certified: bool = True,
    threat: str = "linf:0.1",
    names: tuple[str, ...] = ("ant", "bee", "cat", "dog", "eel"),
    warnings: tuple[str, ...] = (),
) -> Evaluation:
    """37 examples: 3 misclassified, 11 certified, 9 broken by fgsm, 6 by pgd, 8 undecided."""
    data = _data(names)
    ledger = Ledger(data.index, data.labels)
    everyone = torch.arange(COUNT)
    margin = torch.where(everyone < 3, -1.0, 2.0) * (0.5 + _drawn(3, COUNT))
    prediction = torch.where(everyone < 3, (data.labels + 1) % CLASSES, data.labels)
    ledger.take_clean(everyone, prediction, 0.5 + _drawn(4, COUNT) / 2, margin)
    stages = [{"stage": "clean", "forwards": 37, "backwards": 0, "seconds": 0.25, "examples": 37}]
    if certified:
        at = ledger.undecided()
        ledger.take_bound(at, torch.where(at < 14, 0.7, -0.9), "interval")
    for name, end in (("fgsm", 23), ("pgd-20-2", 29)):
        at = ledger.undecided()
        result = _found(at, (at >= 14) & (at < end))
        ledger.take_attack(at, result, name)
        cost = {"forwards": 21 * len(at), "backwards": 20 * len(at), "seconds": 1.5}
        stages.append({"stage": f"{name}@{threat}", "examples": len(at), **cost})
    points = [Point(0.0, 34, 34), Point(0.05, 27, 20), Point(0.1, 19, 11), Point(0.2, 8, 0)]
    found = summarise(
        ledger=ledger,
        data=data,
        threat=parse(threat),
        points=points,
        stages=stages,
        certified=certified,
        bounds=("interval",),
        protocol=Listed(()),
        checks=Checks(FrozenModel(torch.nn.Identity()), data, parse(threat), 0),
        classes=CLASSES,
        notes={},
        warnings=warnings,
        computed=5,
        settings={"seed": 0, "block": 64, "torch": "2.13", "attacks": {"fgsm": "FGSM()"}},
        names={"model": model},
    )
    for key in ("protocol", "flags", "sanity", "audit"):  # as a run that did not look
        found.result.pop(key)
    for row in found.result["attacks"]:
        del row["examples"], row["broken"]
    return found


def _write_gallery(folder: Path, *, shape: tuple[int, ...] = SHAPE, rows: int = 4) -> None:
    """A gallery of some examples; the first stands, the last has no adversarial input."""
    clean = _drawn(5, rows, *shape)
    adversarial = (clean + 0.1 * torch.sign(_drawn(6, rows, *shape) - 0.5)).clamp(0, 1)
    adversarial[-1] = torch.nan
    label = torch.arange(rows) % CLASSES
    tensors = {
        "clean": clean,
        "adversarial": adversarial,
        "label": label,
        "prediction": label,
        "adversarial_prediction": torch.where(label == 0, label, (label + 1) % CLASSES),
        "confidence": torch.full((rows,), 0.98),
        "adversarial_confidence": torch.full((rows,), 0.71),
        "size": torch.full((rows,), 0.1),
        "index": torch.arange(1100, 1100 + rows),
    }
    write_tensors(folder / "gallery.safetensors", tensors, {})


def _write_metrics(file: Path) -> None:
    """Six epochs as training records them, with a text and a NaN among the numbers."""
    with Metrics(file) as metrics:
        for epoch in range(1, 7):
            record: dict[str, Any] = {
                "epoch": epoch,
                "step": 10 * epoch,
                "loss": 2.0 / epoch,
                "clean": 1 - 0.5 / epoch,
                "robust": 0.8 - 0.6 / epoch,
                "learning_rate": 0.01 * (7 - epoch),
                "note": "text",
                "broken": float("nan"),
                "seconds": 0.5 * epoch,
            }
            metrics.write(**record)


@pytest.fixture(scope="session")
def evaluated() -> Callable[..., Evaluation]:
    """Makes an evaluation of 37 examples: 3 misclassified, 11 certified, 15 broken, 8 undecided."""
    return _evaluated


@pytest.fixture(scope="session")
def write_metrics() -> Callable[[Path], None]:
    """Writes six epochs of metrics."""
    return _write_metrics


def _make_run(
    root: Path,
    *,
    gallery: bool = True,
    metrics: bool = True,
    extra: dict[str, Any] | None = None,
    **options: Any,
) -> Run:
    evaluation = _evaluated(**options)
    run = Run.create("evaluate", evaluation.result["model"], "toy", root=root / "runs")
    run.write_examples(evaluation.ledger.rows())
    run.write_result(evaluation.result | (extra or {}))
    if gallery:
        _write_gallery(run.path)
    if metrics:
        _write_metrics(run.metrics_file)
    return run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """Writes a run of `evaluate` and returns it; `extra` goes into its result."""
    return partial(_make_run, tmp_path)


@pytest.fixture(scope="session")
def page_of_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one run with a warning."""
    return write_report(_make_run(tmp_path_factory.mktemp("one"), warnings=("mind the gap",)))


@pytest.fixture(scope="session")
def page_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two runs, the second of which certified nothing."""
    root = tmp_path_factory.mktemp("two")
    runs = [_make_run(root, model="one"), _make_run(root, model="two", certified=False)]
    return write_report(runs)
