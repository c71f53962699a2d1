"""`quickstart`: three models of the embedded digits, trained, evaluated, compared on one page.

Ordinary training has nothing to hold against an attack; adversarial training withstands the attacks
that were tried, but little of it can be proved by cheap bounds; training on interval bounds gives
up some clean accuracy for robustness that is proved. Nothing is downloaded.

Source: the recipes `digits-standard`, `digits-pgd` (Madry et al. 2018) and `digits-interval` (Gowal
et al. 2018), at one radius and with few epochs.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from holdfast.benchmark.evaluate import evaluate
from holdfast.benchmark.gallery import write_gallery
from holdfast.data.images import ImageData
from holdfast.data.load import load_data
from holdfast.report import tables
from holdfast.report.page import write_report
from holdfast.report.tables import Table
from holdfast.runs.atomic import Pathlike
from holdfast.runs.directory import Run
from holdfast.runs.environment import environment
from holdfast.threats.text import parse
from holdfast.training.loop import train
from holdfast.training.recipe import Recipe, load_recipe

THREAT = "linf:0.1"
RADII = (0.03, 0.06, 0.15, 0.2)
ATTACKS = "fgsm,pgd-20-2"
EPOCHS = {"digits-standard": 6, "digits-pgd": 10, "digits-interval": 24}
TITLE = "Three ways to train, three answers"


@dataclass(frozen=True)
class Step:
    """A part of the quick start begins.

    Args:
        what: `train` or `evaluate`.
        model: the recipe's name.
        number: which, from 1, of `total`.
        total: how many parts there are.
    """

    what: str
    model: str
    number: int
    total: int


@dataclass(frozen=True)
class Quickstart:
    """What the quick start left behind; `print` shows the table, `open` takes it as the page.

    Args:
        report: the page.
        runs: the run directories of the evaluations.
        table: one row per model.
    """

    report: Path
    runs: tuple[Path, ...]
    table: Table

    def __str__(self) -> str:
        return f"{self.table}\n{self.report}"

    def __fspath__(self) -> str:
        return os.fspath(self.report)


def quickstart(
    out: Pathlike = "runs/quickstart",
    *,
    seed: int = 0,
    epochs: dict[str, int] | None = None,
    limit: int | None = None,
    on_event: Callable[[Any], None] | None = None,
) -> Quickstart:
    """Trains and evaluates three models on digits and writes one page that compares them.

    Args:
        out: the folder of the runs and of `report.html`; what it holds stays, but for the page.
        seed: of everything random.
        epochs: other numbers of epochs, by recipe.
        limit: the first so many test examples only.
        on_event: called with `Step`, the events of training, and `benchmark.evaluate.Progress`.

    Guarantee: the same numbers for the same seed and versions on one kind of processor; the number
        of threads is set to one meanwhile and restored.
    Cost: under a minute on two cores.
    Raises:
        InputError: the folder cannot be written; a seed below 0, a limit out of range.
    """
    test = load_data("digits", "test", limit=limit)
    tell = on_event or (lambda event: None)
    runs: list[Run] = []
    results = []
    with _one_thread():
        for number, (name, length) in enumerate((EPOCHS | (epochs or {})).items()):
            recipe = load_recipe(name, {"threat": THREAT, "seed": seed, "training.epochs": length})
            tell(Step("train", name, 2 * number + 1, 2 * len(EPOCHS)))
            trained, model = _train(recipe, Path(out), on_event)
            tell(Step("evaluate", name, 2 * number + 2, 2 * len(EPOCHS)))
            run, result = _evaluate(model, test, trained, seed, on_event)
            runs.append(run)
            results.append(result)
    page = write_report(runs, Path(out) / "report.html", title=TITLE)
    return Quickstart(page, tuple(run.path for run in runs), tables.summary(results))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: these networks are too small for more, and the numbers do not depend
    on how many the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(recipe: Recipe, out: Path, on_event: Callable[[Any], None] | None) -> tuple[Run, Any]:
    """The run of a training, and its model."""
    run = Run.create("train", recipe.name, "digits", root=out)
    result = train(recipe, run=run, device="cpu", on_event=on_event)
    run.write_result(result.record() | {"environment": environment()})
    return run, result.model


def _evaluate(
    model: Any, test: ImageData, trained: Run, seed: int, on_event: Callable[[Any], None] | None
) -> tuple[Run, dict[str, Any]]:
    """The run of an evaluation, which says where its model was trained, and its result."""
    name = trained.read_recipe()["name"]
    run = Run.create("evaluate", name, "digits", root=trained.path.parent)
    evaluation = evaluate(
        model,
        test,
        parse(THREAT),
        attacks=ATTACKS,
        radii=RADII,
        seed=seed,
        device="cpu",
        run=run,
        names={"model": name, "data": "digits"},
        on_event=on_event,
    )
    evaluation.write(run)
    write_gallery(run, model, test, evaluation.ledger)
    origin = {"trained_in": f"../{trained.path.name}", "environment": environment()}
    run.write_result(evaluation.result | origin)
    return run, evaluation.result | origin
