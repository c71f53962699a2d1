"""Recipe files: where they lie, what they hold, overrides from the command line. Imports no torch.

A recipe is a TOML file. Its name is the file's name without `.toml`; recipes come with the library
(`recipes/` of a checkout, `holdfast/_recipes` of an installation), and any path may be given.
"""

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import holdfast
from holdfast.core.errors import InputError, unknown_name

Overrides = Mapping[str, Any] | Iterable[str]


def list_recipes() -> dict[str, str]:
    """The names of the recipes that come with the library, each with its summary line."""
    return {
        name: str(read_recipe(path).get("summary", "")) for name, path in _known_files().items()
    }


def find_recipe(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a recipe: a name of the library's, or a path (ending in `.toml`).

    Raises:
        InputError: an unknown name, with the nearest known one; a file that is not there.
    """
    text = os.fspath(name_or_path)
    known = _known_files()
    if text in known:
        return known[text]
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if text.endswith(".toml") or os.sep in text:
        raise InputError("recipe", text, "is not there", "give a recipe's name or file")
    raise unknown_name("recipe", text, known)


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The tables of a recipe file, not yet checked.

    Raises:
        InputError: it cannot be read, or is not TOML; says where.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError("recipe", os.fspath(path), problem, "give a readable file") from None
    except ValueError as error:
        problem, remedy = f"is not valid TOML ({error})", "correct the file there"
        raise InputError("recipe", os.fspath(path), problem, remedy) from None


def overridden(values: Mapping[str, Any], overrides: Overrides) -> dict[str, Any]:
    """The tables with some keys replaced.

    Args:
        values: nested tables; left as they are.
        overrides: dotted keys with their values, or texts `training.epochs=15`. The value of a text
            is read as TOML where it is TOML (`15`, `true`, `[1, 2]`), else as the text itself
            (`linf:0.3`, `8/255`).

    Raises:
        InputError: a text without `=`, or a key below one that is no table.

    Example:
        >>> overridden({"training": {"epochs": 3}}, ["training.epochs=15", "seed=1"])
        {'training': {'epochs': 15}, 'seed': 1}
    """
    result = _copied(values)
    for key, value in _pairs(overrides):
        *path, last = key.split(".")
        table = result
        for part in path:
            table = table.setdefault(part, {})
            if isinstance(table, str):  # a bare name, such as objective = "pgd-at"
                table = _expanded(result, path)
            if not isinstance(table, dict):
                raise InputError("set", key, f"lies below {part}, which is no table", "check it")
        table[last] = value
    return result


def _expanded(values: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """Turns the bare name at `path` into a table with that kind, and returns it."""
    *above, last = path
    table = values
    for part in above:
        table = table[part]
    table[last] = {"kind": table[last]}
    expanded: dict[str, Any] = table[last]
    return expanded


def _pairs(overrides: Overrides) -> Iterable[tuple[str, Any]]:
    if isinstance(overrides, Mapping):
        yield from overrides.items()
        return
    for text in [overrides] if isinstance(overrides, str) else overrides:
        key, sign, value = text.partition("=")
        if not (sign and key.strip()):
            raise InputError("set", text, "is no assignment", "write key=value, epochs=15")
        yield key.strip(), _value(value.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _copied(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {key: _copied(each) for key, each in values.items()}
    return list(values) if isinstance(values, list | tuple) else values


def _known_files() -> dict[str, Path]:
    package = Path(holdfast.__file__).resolve().parent
    for folder in (package / "_recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}
