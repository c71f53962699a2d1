"""The gate: a run passes if its accuracies reach what is asked for; for continuous integration.

Accuracies are fractions of the evaluated examples. A drop is measured against an older run, in
clean and robust accuracy, and in certified accuracy where both runs have one. What is asked for may
also be a protocol, and that no severe flag fired.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from holdfast.benchmark.compare import evaluation_of, flags_of, protocol_of
from holdfast.core.errors import InputError
from holdfast.runs.directory import Run

_MEASURES = ("clean", "robust", "certified")
_ROUNDING = 1e-9  # a drop of 1 in 100 examples is a drop of 0.01


@dataclass(frozen=True)
class Criterion:
    """One condition and what was found.

    Args:
        name: such as `min-robust`, `max-drop clean`, `protocol` or `no-severe-flags`.
        asked: the least accuracy that passes; else what is asked for, in words.
        found: the accuracy, or what was found; None where it was not measured.
        passed: whether it holds.
    """

    name: str
    asked: float | str
    found: float | str | None
    passed: bool

    def __str__(self) -> str:
        least = "" if isinstance(self.asked, str) else "at least "
        return f"{self.name}: found {_shown(self.found)}, asked for {least}{_shown(self.asked)}"


@dataclass(frozen=True)
class Gate:
    """The answer.

    Args:
        run: the directory's name.
        criteria: all that were asked for.
    """

    run: str
    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """Whether all criteria hold."""
        return all(each.passed for each in self.criteria)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        rows = [asdict(each) for each in self.criteria]
        return {"run": self.run, "passed": self.passed, "criteria": rows}

    def junit(self) -> str:
        """As JUnit XML: one test case per criterion."""
        failed = sum(not each.passed for each in self.criteria)
        cases = "".join(
            f"  <testcase classname={quoteattr(self.run)} name={quoteattr(each.name)}>"
            + ("" if each.passed else f"<failure>{escape(str(each))}</failure>")
            + "</testcase>\n"
            for each in self.criteria
        )
        counts = f'tests="{len(self.criteria)}" failures="{failed}"'
        head = '<?xml version="1.0" encoding="UTF-8"?>\n'
        return f'{head}<testsuite name="holdfast gate" {counts}>\n{cases}</testsuite>\n'

    def markdown(self) -> str:
        """As a Markdown table."""
        rows = [
            f"| {each.name} | {_shown(each.asked)} | {_shown(each.found)} | "
            f"{'passed' if each.passed else '**failed**'} |"
            for each in self.criteria
        ]
        head = ["| criterion | asked for | found | |", "|---|---|---|---|"]
        title = f"### {self.run}: {'passed' if self.passed else 'failed'}\n"
        return "\n".join([title, *head, *rows]) + "\n"


def gate(
    run: Run,
    *,
    min_clean: float | None = None,
    min_robust: float | None = None,
    min_certified: float | None = None,
    max_drop: float | None = None,
    against: Run | None = None,
    protocol: str | None = None,
    no_severe_flags: bool = False,
) -> Gate:
    """Compares a run's accuracies with what is asked for.

    Args:
        run: an evaluation.
        min_clean, min_robust, min_certified: least accuracies, fractions in [0, 1].
        max_drop: by how much each accuracy may be below that of `against`.
        against: an older run.
        protocol: that the run must have followed: a name such as `standard`, or one with its
            version, `standard/1`.
        no_severe_flags: whether a severe flag fails, and so does a run without checks.

    Raises:
        InputError: nothing asked for, a threshold outside [0, 1], `max_drop` without `against` or
            the reverse, a run without an evaluation.
    """
    least = {"clean": min_clean, "robust": min_robust, "certified": min_certified}
    for name, value in least.items():
        _check_fraction(f"min_{name}", value)
    _check_fraction("max_drop", max_drop)
    if (max_drop is None) != (against is None):
        given, missing = ("max_drop", "against") if against is None else ("against", "max_drop")
        shown = max_drop if against is None else str(against.path)
        raise InputError(given, shown, f"is given without {missing}", "give both")
    asked_for = (against, protocol, no_severe_flags or None, *least.values())
    if all(value is None for value in asked_for):
        raise InputError("gate", str(run.path), "has no criterion", "give one, such as min_robust")
    found = evaluation_of(run)
    criteria = [
        _criterion(f"min-{name}", value, found[f"{name}_accuracy"])
        for name, value in least.items()
        if value is not None
    ]
    if protocol is not None:
        followed = protocol_of(found)
        holds = protocol in (followed, followed.partition("/")[0])
        criteria.append(Criterion("protocol", protocol, followed or "a list of attacks", holds))
    if no_severe_flags:
        criteria.append(_flagless(found))
    if against is not None and max_drop is not None:
        old = evaluation_of(against)
        for name in _MEASURES:
            before = old[f"{name}_accuracy"]
            if before is not None:
                asked = max(0.0, before - max_drop)
                criteria.append(_criterion(f"max-drop {name}", asked, found[f"{name}_accuracy"]))
    return Gate(run.path.resolve().name, tuple(criteria))


def _criterion(name: str, asked: float, found: float | None) -> Criterion:
    return Criterion(name, asked, found, found is not None and found >= asked - _ROUNDING)


def _flagless(found: Mapping[str, Any]) -> Criterion:
    """Whether the checks ran and no severe flag fired."""
    severe = [str(flag["code"]) for flag in flags_of(found) if flag.get("severity") == "severe"]
    checked = found.get("flags") is not None
    told = ", ".join(severe) or ("none" if checked else None)
    return Criterion("no-severe-flags", "none", told, checked and not severe)


def _shown(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "not measured" if value is None else f"{value:.4f}"


def _check_fraction(name: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
        raise InputError(name, value, "is no fraction", "give a number in [0, 1], such as 0.45")
