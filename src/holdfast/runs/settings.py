"""What a run was made with, fixed by its first process and compared by every later one.

Imports no torch.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import RunConflict, shorten
from holdfast.runs import atomic
from holdfast.runs.atomic import shown

_ABSENT = object()


def fix(file: Path, header: Mapping[str, Any]) -> None:
    """Writes the header if there is none yet, else compares; see `Run.settings`."""
    given = json.loads(json.dumps(atomic.plain(header)))
    if not file.exists():
        atomic.write_json(file, given)
        return
    difference = first_difference(atomic.read_table(file), given)
    if difference is not None:
        key, before, now = difference
        raise RunConflict(
            f"{shown(file.parent)} was made with {key}={before} and is resumed with {key}={now};"
            " give the same settings, or start a new run without --resume"
        )


def first_difference(
    before: Mapping[str, Any], now: Mapping[str, Any], where: str = ""
) -> tuple[str, str, str] | None:
    """Path, old and new value of the first key that differs, in the order of `now`.

    Example:
        >>> first_difference({"seed": 0, "data": {"name": "digits"}}, {"data": {"name": "mnist"}})
        ('data.name', "'digits'", "'mnist'")
    """
    for key in [*now, *(key for key in before if key not in now)]:
        path = f"{where}.{key}" if where else key
        old, new = before.get(key, _ABSENT), now.get(key, _ABSENT)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = first_difference(old, new, path)
            if inner is not None:
                return inner
        elif old != new or isinstance(old, bool) != isinstance(new, bool):
            return path, _text(old), _text(new)
    return None


def _text(value: object) -> str:
    return "(absent)" if value is _ABSENT else shorten(value)
