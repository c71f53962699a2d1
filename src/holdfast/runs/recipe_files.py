"""The resolved recipe of a run: TOML, or JSON where tomli-w is absent, read equally.

Imports no torch.
"""

import json
import math
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from holdfast.core.errors import InputError
from holdfast.runs import atomic
from holdfast.runs.atomic import shown


def find(folder: Path) -> Path:
    """The recipe of the folder; where there is none yet, the name it would usually get."""
    toml, other = folder / "recipe.toml", folder / "recipe.json"
    return other if other.exists() and not toml.exists() else toml


def write(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Writes the recipe into the folder, in place of one in the other format."""
    toml, other = folder / "recipe.toml", folder / "recipe.json"
    values, dumps = _without_none(recipe), _toml_writer()
    written, stale = (other, toml) if dumps is None else (toml, other)
    try:
        text = _json(values) if dumps is None else dumps(values)
    except TypeError as error:
        problem = f"cannot be written as {written.suffix[1:].upper()} ({error})"
        remedy = "use numbers, texts, lists and tables"
        raise InputError("recipe", dict(recipe), problem, remedy) from error
    atomic.write_text(written, text)
    stale.unlink(missing_ok=True)


def read(file: Path) -> dict[str, Any]:
    """The recipe in the file."""
    if file.suffix == ".json":
        return atomic.read_table(file)
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problem, remedy = f"cannot be read ({error.strerror})", "make the file readable"
    except ValueError as error:
        problem, remedy = f"is not valid TOML ({error})", "restore the file or start a new run"
    raise InputError("path", shown(file), problem, remedy)


def _toml_writer() -> Callable[[Mapping[str, Any]], str] | None:
    try:
        import tomli_w
    except Exception:  # absent or broken: either way JSON serves
        return None
    return tomli_w.dumps


def _json(values: Any) -> str:
    return json.dumps(_infinity_as_text(values), indent=2, ensure_ascii=False) + "\n"


def _without_none(value: Any) -> Any:
    """TOML has no null: a key that is None is left out."""
    if isinstance(value, Mapping):
        return {str(key): _without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(each) for each in value]
    return value


def _infinity_as_text(value: Any) -> Any:
    """JSON has no infinity; recipes read numbers from text (`core.numbers`)."""
    if isinstance(value, dict):
        return {key: _infinity_as_text(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_infinity_as_text(each) for each in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
