"""Step by step: what each step of the attacks broke, from the clean model to what is left.

A waterfall of one row per step on the common axis from 0 to 100 % of the examples: what stands
after the step (faint), what fell to it (strong). The last rows split what is left into certified
and undecided. Steps that broke nothing are thin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.report import wording
from holdfast.report.tables import Column, Table

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Segment:
    """A piece of a row's bar, in percent of all examples.

    Args:
        role: `standing` or an outcome.
        left: where it starts.
        width: how wide it is.
    """

    role: str
    left: float
    width: float


@dataclass(frozen=True)
class Step:
    """One row.

    Args:
        kind: `start`, `step`, `none` (a step that broke nothing) or `end`.
        number: of the attack in the order of the run; 0 for the other rows.
        label: what the row is about; may hold anything, the page escapes it.
        said: what became of how many.
        share: of all examples, after it.
        bar: its pieces.
    """

    kind: str
    number: int
    label: str
    said: str
    share: str
    bar: tuple[Segment, ...]


@dataclass(frozen=True)
class Flow:
    """All rows, in order; their data.

    Args:
        name: of its file.
        steps: from the clean model to what is left.
        note: what to bear in mind.
        csv: the data, unrounded.
    """

    name: str
    steps: tuple[Step, ...]
    note: str
    csv: str


@dataclass(frozen=True)
class _Fall:
    """A step in counts: how many entered it, how many fell to it, how many stand after it."""

    label: str
    number: int
    entered: int
    broken: int
    standing: int


def outcome_flow(result: Result, name: str = "flow") -> Flow | None:
    """How many examples fell to what, in order; None where nothing attacked.

    Args:
        result: an evaluation; rows of `attacks` that do not say how many examples entered the step
            and fell to it are read from the robust accuracies.
        name: of its file.
    """
    if not result.get("attacks") or not result["examples"]:
        return None
    total = result["examples"]
    clean = round(result["clean_accuracy"] * total)
    falls = _falls(result, clean, total)
    steps = (_start(clean, total), *(_step(fall, total) for fall in falls), *_ends(result, total))
    fewer = any(fall.entered < fall.standing + fall.broken for fall in falls)
    note = "Blue stands, orange fell to the step, in percent of all examples."
    if fewer:
        note += (
            " A step sees only the examples that it is meant for: those that are certified, or set "
            "aside by an earlier step, do not enter it."
        )
    return Flow(name, steps, note, _table(falls, clean, total).csv())


def _falls(result: Result, clean: int, total: int) -> list[_Fall]:
    """The steps in counts; what no step accounts for is a last row of its own."""
    standing, falls = clean, []
    for number, row in enumerate(result["attacks"], start=1):
        broken = row.get("broken")
        if broken is None:
            broken = standing - round(row["robust_accuracy"] * total)
        entered = standing if row.get("examples") is None else row["examples"]
        standing -= broken
        falls.append(_Fall(str(row["name"]), number, entered, broken, standing))
    left = round(result["robust_accuracy"] * total)
    if standing > left:
        audit = result.get("audit") or {}
        label = "the audit" if audit.get("found") else "found otherwise"
        falls.append(_Fall(label, 0, standing, standing - left, left))
    return falls


def _start(clean: int, total: int) -> Step:
    wrong = total - clean
    said = f"{wording.count(wrong) if wrong else 'none'} of {wording.count(total)} wrong"
    bar = (_segment("standing", 0, clean, total), _segment("misclassified", clean, wrong, total))
    return Step("start", 0, "clean", said, wording.percent(clean / total), bar)


def _step(fall: _Fall, total: int) -> Step:
    entered = wording.count(fall.entered)
    said = f"{wording.count(fall.broken) if fall.broken else 'none'} of {entered} fell"
    return Step(
        kind="step" if fall.broken else "none",
        number=fall.number,
        label=fall.label,
        said=said,
        share=wording.percent(fall.standing / total),
        bar=(
            _segment("standing", 0, fall.standing, total),
            _segment("broken", fall.standing, fall.broken, total),
        ),
    )


def _ends(result: Result, total: int) -> list[Step]:
    """What is left: certified and undecided."""
    left = round(result["robust_accuracy"] * total)
    proved = result.get("certified_accuracy")
    sure = round((proved or 0) * total)
    open_ = Step(
        "end",
        0,
        "undecided",
        f"{wording.count(left - sure)} left open",
        wording.percent((left - sure) / total),
        (_segment("undecided", sure, left - sure, total),),
    )
    if proved is None:
        return [open_]
    said = f"{wording.count(sure)} proved"
    bar = (_segment("certified", 0, sure, total),)
    return [Step("end", 0, "certified", said, wording.percent(sure / total), bar), open_]


def _segment(role: str, at: int, count: int, total: int) -> Segment:
    return Segment(role, 100 * at / total, 100 * count / total)


def _table(falls: Sequence[_Fall], clean: int, total: int) -> Table:
    names = ("entered", "broken", "standing")
    columns = (Column("step"), *(Column(name, "count") for name in names), Column("share", "share"))
    first = ("clean", total, total - clean, clean, clean / total)
    rows = [(f.label, f.entered, f.broken, f.standing, f.standing / total) for f in falls]
    return Table(columns, (first, *rows))
