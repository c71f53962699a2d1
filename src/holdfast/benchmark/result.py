"""The result of an evaluation: accuracies with intervals, costs, and where they come from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.benchmark.checks import Checks
from holdfast.benchmark.protocol import Protocol
from holdfast.core.confidence import clopper_pearson
from holdfast.core.ledger import Ledger
from holdfast.core.recipes import content_hash
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.runs.directory import Run
from holdfast.threats.protocol import Threat


@dataclass(frozen=True)
class Point:
    """Accuracy at one radius: how many examples stand against all attacks, how many are proved."""

    radius: float
    robust: int
    certified: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A two-sided evaluation.

    Args:
        result: plain data, what `result.json` holds; keys `clean_accuracy`, `robust_accuracy`,
            `certified_accuracy` (fractions of all evaluated examples; None where no certificate
            ran), each with `..._interval` (95 %, Clopper-Pearson), `examples`, `seconds`,
            `forwards`, `backwards`, `protocol`, `attacks` (one row per step), `flags`, `radii`,
            `per_class`, `warnings`, `settings`.
        ledger: per example, the outcome with its evidence.

    Example:
        `print(evaluation.table())`
    """

    result: dict[str, Any]
    ledger: Ledger = field(repr=False)

    @property
    def clean_accuracy(self) -> float:
        """Fraction of examples whose clean input is classified correctly."""
        return self.result["clean_accuracy"]

    @property
    def robust_accuracy(self) -> float:
        """Fraction neither misclassified nor broken: an upper bound on the truth."""
        return self.result["robust_accuracy"]

    @property
    def certified_accuracy(self) -> float | None:
        """Fraction proved robust: a lower bound on the truth; None where nothing was certified."""
        return self.result["certified_accuracy"]

    @property
    def flags(self) -> list[dict[str, Any]]:
        """Signs that the number should not be believed as it stands: code, severity, evidence,
        advice, examples."""
        return self.result["flags"]

    def __str__(self) -> str:
        return self.table()

    def table(self) -> str:
        """The answer in a few lines of text."""
        rows = [("", "accuracy", "95% interval")]
        for name in ("clean", "robust", "certified"):
            value, interval = self.result[f"{name}_accuracy"], self.result[f"{name}_interval"]
            shown = "not run" if value is None else f"{value:.2%}"
            rows.append((name, shown, "" if interval is None else _span(interval)))
        lines = [f"{name:<10}{shown:>10}  {interval}" for name, shown, interval in rows]
        head = f"{self.result['examples']} examples, threat {self.result['threat']}"
        flags = [f"{f['severity']}: {f['evidence']}; {f['advice']}" for f in self.flags]
        warnings = [f"warning: {text}" for text in self.result["warnings"]]
        return "\n".join([head, *lines, *flags, *warnings])

    def _repr_html_(self) -> str:
        return f"<pre>{self.table()}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """A copy of the plain result."""
        return dict(self.result)

    def write(self, run: Run) -> None:
        """Writes `examples.parquet`, then `result.json`."""
        run.write_examples(self.ledger.rows())
        run.write_result(self.result)


def summarise(
    *,
    ledger: Ledger,
    data: ImageData,
    threat: Threat,
    points: Sequence[Point],
    stages: list[dict[str, Any]],
    certified: bool,
    bounds: Sequence[str],
    protocol: Protocol,
    checks: Checks,
    classes: int,
    notes: dict[str, Any],
    warnings: Sequence[str],
    computed: int,
    settings: dict[str, Any],
    names: dict[str, str],
) -> Evaluation:
    """Builds the result from the ledger and the stages' accounts.

    Args:
        computed: rows that this process sent forward, those that only fill blocks included.
    """
    count = len(ledger)
    wrong, broken = ledger.count(Outcome.MISCLASSIFIED), ledger.count(Outcome.BROKEN)
    proved = ledger.count(Outcome.CERTIFIED) if certified else None
    steps = _attacks(ledger, stages, threat)
    checks.of_steps(steps, classes, notes)
    forwards = int(ledger.forwards.sum()) + checks.report["forwards"]
    result: dict[str, Any] = {
        "model": names.get("model", ""),
        "data": names.get("data", data.title),
        "split": data.split,
        "threat": threat.text,
        "examples": count,
        **_accuracy("clean", count - wrong, count),
        **_accuracy("robust", count - wrong - broken, count),
        **_accuracy("certified", proved, count),
        "certified_by": list(bounds) if certified else [],
        "seconds": sum(stage["seconds"] for stage in stages),
        "forwards": forwards,
        "backwards": int(ledger.backwards.sum()) + checks.report["backwards"],
        "padding": max(0, computed - forwards),
        "protocol": _protocol(protocol),
        "attacks": steps,
        "flags": [flag.to_dict() for flag in checks.found],
        "sanity": checks.sanity,
        "audit": notes.get("audit"),
        "radii": [_point(point, count, certified) for point in points],
        "per_class": ledger.per_class(data.names),
        "close_calls": _close_calls(ledger),
        "stages": stages,
        "warnings": list(dict.fromkeys(warnings)),
        "settings": settings,
    }
    return Evaluation(result, ledger)


def _protocol(protocol: Protocol) -> dict[str, Any] | None:
    if not protocol.name:
        return None
    content = {"version": protocol.version, "settings": repr(protocol)}
    return {"name": protocol.name, "version": protocol.version, "hash": content_hash(content)}


def _attacks(ledger: Ledger, stages: list[dict[str, Any]], threat: Threat) -> list[dict[str, Any]]:
    """One row per attack at the threat itself: how many it saw and broke, the robust accuracy after
    it, and what it cost."""
    count = len(ledger)
    standing = count - ledger.count(Outcome.MISCLASSIFIED)
    rows = []
    for stage in stages:
        name, _, where = stage["stage"].partition("@")
        if where != threat.text or stage.get("bound"):
            continue
        broken = 0
        if name in ledger.methods:
            by_it = ledger.method == ledger.methods.index(name)
            broken = int((by_it & (ledger.outcome == Outcome.BROKEN)).sum())
        standing -= broken
        row = {"name": name, "examples": stage["examples"], "broken": broken}
        row |= _accuracy("robust", standing, count)
        rows.append(row | {k: stage[k] for k in ("seconds", "forwards", "backwards")})
    return rows


def _point(point: Point, count: int, certified: bool) -> dict[str, Any]:
    proved = point.certified if certified else None
    return {
        "radius": point.radius,
        **_accuracy("robust", point.robust, count),
        **_accuracy("certified", proved, count),
    }


def _accuracy(name: str, successes: int | None, count: int) -> dict[str, Any]:
    if successes is None:
        return {f"{name}_accuracy": None, f"{name}_interval": None}
    low, high = clopper_pearson(successes, count)
    return {f"{name}_accuracy": successes / count, f"{name}_interval": [low, high]}


def _close_calls(ledger: Ledger) -> list[int]:
    """Examples whose outcome hangs on a margin below 1e-5: rounding may differ elsewhere."""
    return ledger.index[ledger.margin.abs() < 1e-5].tolist()


def _span(interval: Sequence[float]) -> str:
    return f"{interval[0]:.2%} - {interval[1]:.2%}"
