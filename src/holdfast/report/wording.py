"""Numbers and sentences as a reader wants them: percentages that never overstate, the answer of an
evaluation in one sentence, what each of its two sides rests on. Imports neither torch nor numpy.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "–"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as percentage; only an exact 0 or 1 reads 0 % or 100 %.

    Example:
        >>> percent(0.723), percent(0.99996), percent(0.0002), percent(1.0), percent(None)
        ('72.3%', '>99.9%', '<0.1%', '100.0%', '–')
    """
    if value is None or not math.isfinite(value):
        return ABSENT
    step = 10.0 ** -(digits + 2)
    if 0 < value < step / 2:
        return f"<{step:.{digits}%}"
    if 1 - step / 2 < value < 1:
        return f">{1 - step:.{digits}%}"
    return f"{value:.{digits}%}"


def span(interval: Sequence[float] | None) -> str:
    """A confidence interval of a share.

    Example:
        >>> span([0.5, 0.625])
        '50.0% to 62.5%'
    """
    if interval is None:
        return ABSENT
    return f"{percent(interval[0])} to {percent(interval[1])}"


def count(value: float | None) -> str:
    """A whole number with separators of thousands.

    Example:
        >>> count(1234567)
        '1,234,567'
    """
    return ABSENT if value is None or not math.isfinite(value) else f"{round(value):,}"


def decimal(value: float | None) -> str:
    """A number to four significant digits.

    Example:
        >>> decimal(0.0313725), decimal(float("inf")), decimal(12345.6)
        ('0.03137', '∞', '1.235e+04')
    """
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """A time.

    Example:
        >>> duration(0.0042), duration(12.34), duration(75), duration(7260)
        ('4 ms', '12.3 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return ABSENT
    if seconds < 0.9995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def claim(result: Mapping[str, Any]) -> str:
    """The answer of an evaluation in one sentence.

    Example:
        >>> accuracies = {"clean_accuracy": 0.9, "robust_accuracy": 0.7, "certified_accuracy": 0.6}
        >>> claim({"threat": "l2:1", "examples": 50, "attacks": [{"name": "fgsm"}], **accuracies})
        'At l2:1 on 50 examples: between 60.0% (certified) and 70.0% (attacked) robust; clean 90.0%'
    """
    where = f"At {result.get('threat')} on {count(result.get('examples'))} examples"
    clean = f"clean {percent(result.get('clean_accuracy'))}"
    proved = result.get("certified_accuracy")
    attacked = result.get("robust_accuracy") if result.get("attacks") else None
    if proved is None and attacked is None:
        return f"{where}: neither attacked nor certified; {clean}"
    if proved is None:
        return f"{where}: at most {percent(attacked)} robust (attacked), nothing proved; {clean}"
    if attacked is None:
        return f"{where}: at least {percent(proved)} robust (certified), not attacked; {clean}"
    between = f"between {percent(proved)} (certified) and {percent(attacked)} (attacked) robust"
    return f"{where}: {between}; {clean}"


def comparison(results: Sequence[Mapping[str, Any]]) -> str:
    """What several evaluations say of each other, in one or two sentences.

    A model leads for certain where more is proved of it than the attacks have left of every other.
    """
    if not results:
        return "None of these runs holds an evaluation."
    if len(results) == 1:
        return f"{results[0].get('model')}: {claim(results[0])}"
    left = max(results, key=lambda result: result["robust_accuracy"])
    proved = max(results, key=lambda result: result.get("certified_accuracy") or 0.0)
    most = proved.get("certified_accuracy")
    standing = f"the attacks leave most to {left.get('model')} ({percent(left['robust_accuracy'])})"
    if not most:
        return f"Nothing is proved of any; {standing}."
    others = [result["robust_accuracy"] for result in results if result is not proved]
    if most > max(others):
        return (
            f"{proved.get('model')} is the most robust on these examples: {percent(most)} is "
            f"proved of it, and the attacks leave at most {percent(max(others))} to any other."
        )
    if left is proved:
        between = f"{percent(most)} is proved of it and {percent(left['robust_accuracy'])} stands"
        return f"{proved.get('model')} leads on both sides: {between} against the attacks."
    return f"Most is proved of {proved.get('model')} ({percent(most)}); {standing}."


def upper_side(result: Mapping[str, Any]) -> str:
    """What the upper side of the answer rests on."""
    names = [str(attack.get("name")) for attack in result.get("attacks") or ()]
    if not names:
        return "No attack ran: the upper side is the clean accuracy and says nothing of robustness."
    by = _protocol(result, len(names)) or f"{_listed(names)}, in this order"
    return (
        f"Attacked by {by}, each on what the ones before had left. A "
        "success counts after a fresh forward pass and a check that the input lies within the "
        "threat. A stronger attack can only lower this number."
    )


def lower_side(result: Mapping[str, Any]) -> str:
    """What the lower side of the answer rests on."""
    if result.get("certified_accuracy") is None:
        return (
            "Not run: nothing is proved, and the true robust accuracy may be anything from zero "
            "up to the attacked one."
        )
    methods = [str(name) for name in result.get("certified_by") or ()]
    by = f"by {_listed(methods)}" if methods else "by a method that the run does not name"
    return (
        f"Certified {by}: for every certified example, a lower bound on the margin over all "
        "wrong classes is positive on the whole threat. A tighter bound can only raise this number."
    )


def protocol(result: Mapping[str, Any]) -> str:
    """The protocol of an evaluation with its version; empty where a plain list of attacks ran.

    Example:
        >>> protocol({"protocol": {"name": "fast", "version": "fast/1"}}), protocol({})
        ('fast/1', '')
    """
    told = result.get("protocol")
    return str(told.get("version") or told.get("name") or "") if isinstance(told, Mapping) else ""


def _protocol(result: Mapping[str, Any], steps: int) -> str:
    name = protocol(result)
    return f"the {steps} steps of the protocol {name}" if name and steps > 1 else ""


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
