"""The text form of a threat, as the command, recipes and records write it.

    linf:8/255    l2:0.5,box=none    linf:0.1,box=-1:1    l1:12,projection=clip    l2:inf
    l0:5,per=pixel    gaussian:0.1    spatial:rot=30,shift=3

A name of the catalogue, a colon, the radius (of noise, its level), then options `key=value` after
commas. A spatial threat has options only.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError, unknown_name
from holdfast.core.numbers import number
from holdfast.threats.catalogue import THREATS

if TYPE_CHECKING:
    from holdfast.threats.protocol import Threat

_REMEDY = "write name:radius, such as linf:8/255 or l2:0.5,box=none"


def parse(text: str) -> "Threat":
    """The threat that a text names; `parse(threat.text) == threat`.

    Raises:
        InputError: an unknown name or option (with the nearest known), a radius that is missing or
            not a number, an option without a value, given twice, or out of range.

    Example:
        >>> parse("l2:0.5,box=none")
        L2(radius=0.5, box=None, projection='exact')
    """
    if not isinstance(text, str):
        raise InputError("threat", text, "is not a text", _REMEDY)
    head, *rest = (part.strip() for part in text.split(","))
    name, _, radius = (part.strip() for part in head.partition(":"))
    kind = THREATS[name.lower()].load()
    if hasattr(kind, "from_text"):
        return kind.from_text(text)
    if not radius:
        raise InputError("threat", text, "has no radius", _REMEDY)
    known = [field.name for field in fields(kind)][1:]
    return kind(radius, **_options(rest, known))


def as_threat(threat: "str | Threat") -> "Threat":
    """A threat as it is, or the one that a text names.

    Raises:
        InputError: neither.
    """
    if isinstance(threat, str):
        return parse(threat)
    if not (hasattr(threat, "contains") and hasattr(threat, "size")):
        raise InputError("threat", threat, "is not a threat", f"give a threat, or {_REMEDY}")
    return threat


def _options(parts: list[str], known: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in parts:
        key, sign, value = (each.strip() for each in part.partition("="))
        if key not in known:
            raise unknown_name("threat option", key, known)
        if not (sign and value):
            raise InputError("threat option", part, "has no value", f"write {key}=value")
        if key in options:
            raise InputError("threat option", part, "is given twice", "give it once")
        options[key] = _box(value) if key == "box" else value
    return options


def _box(value: str) -> tuple[float, float] | None:
    if value.lower() == "none":
        return None
    low, colon, high = value.partition(":")
    if not colon:
        raise InputError("box", value, "is not a range", "write box=0:1, or box=none")
    return number(low, "box"), number(high, "box")
