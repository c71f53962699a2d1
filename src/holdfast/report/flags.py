"""Can this number be believed? The flags of an evaluation and its audit, in plain words, for the
page and for the terminal.

A flag is a check that fired: attacks that fail for a technical reason make a model look more robust
than it is. The audit attacks a random sample of the examples that a cheaper protocol set aside with
a full one, and bounds what the cheaper one missed: with m set aside and an upper bound b on the
fraction that the full protocol breaks, it lowers the robust accuracy on n examples by at most
m b / n. Imports neither torch nor numpy.

Source: Carlini et al. 2019, arXiv:1902.06705 (what to check); Clopper and Pearson 1934 (the bound).
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.report import wording

Result = Mapping[str, Any]

QUESTION = "Can this number be believed?"
SEVERITIES = ("severe", "warning", "info")
MOST_EXAMPLES = 12

_WORDS = {"severe": "severe", "warning": "warning", "info": "note"}
_VERDICTS = {
    "severe": "Not as it stands. What was seen suggests that the attacks did not work as they "
    "should: the model may be far less robust than the number says.",
    "warning": "With care. What was seen may make the model look more robust than it is.",
    "info": "As far as was checked; what was seen is good to know.",
}
_NONE = (
    "No flag fired: the automatic checks found no sign that the attacks failed. That is no proof; "
    "a stronger attack can still lower the number."
)


@dataclass(frozen=True)
class Flag:
    """One check that fired, as a reader sees it.

    Args:
        severity: `severe`, `warning` or `info`; what is not known counts as a warning.
        word: the severity in one word.
        title: its code as words.
        code: by which it can be looked up.
        evidence: what was seen.
        advice: what to do.
        examples: the indices that it concerns, shortened; maybe empty.
    """

    severity: str
    word: str
    title: str
    code: str
    evidence: str
    advice: str
    examples: str


@dataclass(frozen=True)
class Trust:
    """Whether the answer can be believed.

    Args:
        verdict: in one or two sentences; empty where the run checked nothing.
        flags: that fired, the most severe first.
        audit: what the audit says, maybe empty.
    """

    verdict: str
    flags: tuple[Flag, ...]
    audit: str

    @property
    def severe(self) -> bool:
        """Whether a severe flag fired."""
        return any(flag.severity == "severe" for flag in self.flags)


def trust(result: Result) -> Trust | None:
    """What an evaluation says of its own number; None where it holds neither flags nor an audit.

    Args:
        result: the plain result; `flags` that is present and empty says that no check fired.
    """
    audited = audit_sentence(result)
    listed = result.get("flags")
    if listed is None and not audited:
        return None
    flags = tuple(sorted(map(_flag, listed or ()), key=lambda flag: _place(flag.severity)))
    unflagged = _NONE if listed is not None else ""
    return Trust(_VERDICTS[flags[0].severity] if flags else unflagged, flags, audited)


def audit_sentence(result: Result) -> str:
    """What the audit found and bounds, in words; empty where there was none.

    Example:
        >>> audit = {"sampled": 95, "found": 0, "bound": 0.031, "discarded": 200}
        >>> print(audit_sentence({"examples": 1000, "audit": audit | {"protocol": "standard"}}))
        Audit: of the 200 examples that were set aside as standing without the full attack, 95 \
were drawn at random and attacked with all of the protocol standard; none fell. With 95% \
confidence it would break at most 3.1% of the 200 (6), and so lower the robust accuracy by \
at most 0.6 percentage points.
    """
    audit = result.get("audit")
    if not isinstance(audit, Mapping):
        return ""
    aside, sampled, found = (int(audit.get(key) or 0) for key in ("discarded", "sampled", "found"))
    if aside == 0:
        return "Audit: no example was set aside, so that nothing was left to sample."
    head = (
        f"Audit: of the {wording.count(aside)} examples that were set aside as standing without "
        "the full attack,"
    )
    full = f"the protocol {audit['protocol']}" if audit.get("protocol") else "the full protocol"
    if sampled == 0:
        return f"{head} none was attacked with all of {full}: nothing is known of them."
    fell = f"{wording.count(found)} fell" if found else "none fell"
    drawn = "was" if sampled == 1 else "were"
    body = (
        f"{wording.count(sampled)} {drawn} drawn at random and attacked with all of {full}; {fell}."
    )
    bound = audit.get("bound")
    return f"{head} {body}" + ("" if bound is None else _bounded(bound, aside, result))


def flag_lines(result: Result, width: int = 100) -> list[str]:
    """The flags and the audit as lines of plain text for a terminal; empty where the evaluation
    holds neither.

    Args:
        width: of a line at most, in characters; words that are longer are not cut.

    Example:
        >>> flags = [{"code": "zero-gradients", "severity": "severe", "evidence": "All are 0."}]
        >>> for line in flag_lines({"flags": flags}, width=60)[3:]:
        ...     print(line)
        severe: zero gradients
          seen: All are 0.
    """
    found = trust(result)
    if found is None:
        return []
    lines = _wrapped(f"{QUESTION} {found.verdict}", width) if found.verdict else []
    for flag in found.flags:
        lines += _wrapped(f"{flag.word}: {flag.title[:1].lower()}{flag.title[1:]}", width)
        for name, said in (
            ("seen", flag.evidence),
            ("to do", flag.advice),
            ("examples", flag.examples),
        ):
            lines += _wrapped(f"{name}: {said}", width, "  ") if said else []
    return lines + (_wrapped(found.audit, width) if found.audit else [])


def _flag(row: Mapping[str, Any]) -> Flag:
    """A row of the result as a reader sees it; what it lacks is empty."""
    told = str(row.get("severity"))
    severity = told if told in SEVERITIES else "warning"
    code = str(row.get("code") or "flag")
    title = code.replace("-", " ").replace("_", " ").strip()
    return Flag(
        severity=severity,
        word=_WORDS[severity],
        title=title[:1].upper() + title[1:],
        code=code,
        evidence=str(row.get("evidence") or ""),
        advice=str(row.get("advice") or ""),
        examples=_indices(row.get("examples") or ()),
    )


def _place(severity: str) -> int:
    return SEVERITIES.index(severity)


def _indices(examples: Sequence[Any]) -> str:
    """The first indices, and how many more there are."""
    shown = ", ".join(str(each) for each in examples[:MOST_EXAMPLES])
    more = len(examples) - MOST_EXAMPLES
    return f"{shown} and {wording.count(more)} more" if more > 0 else shown


def _bounded(bound: float, aside: int, result: Result) -> str:
    """The audit's bound as a share, as examples and as points of the accuracy; never rounded
    down."""
    missed = math.floor(bound * aside + 1e-9)
    said = (
        f" With 95% confidence it would break at most {_up(bound)}% of the {wording.count(aside)} "
        f"({wording.count(missed)})"
    )
    total = result.get("examples")
    if not total:
        return f"{said}."
    points = _up(missed / total)
    return f"{said}, and so lower the robust accuracy by at most {points} percentage points."


def _up(share: float) -> str:
    """A share in percent to one digit, rounded up."""
    return f"{math.ceil(1000 * share - 1e-9) / 10:.1f}"


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most that width; a control character cannot reach the terminal."""
    plain = "".join(each if each.isprintable() else " " for each in text)
    return textwrap.wrap(
        plain,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
