"""One reference page per room, made from what the room exports and what its catalogues name.

The pages are written into `reference/api` when a build begins, before sources are read.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

import holdfast
from holdfast.core.catalogue import Catalogue

FOLDER = Path("reference/api")
HIDDEN = {"cli"}
VERBS = ("evaluate", "certify", "attack", "train", "load")


def setup(app: Any) -> dict[str, Any]:
    """Registers what writes the pages."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}


def write(app: Any) -> None:
    """Writes the pages that changed, and removes those of rooms that are gone."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pages = {"verbs": verbs()} | {room: page(room) for room in rooms()}
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()


def rooms() -> list[str]:
    """The rooms that have something to show, by name."""
    return sorted(
        m.name for m in pkgutil.iter_modules(holdfast.__path__) if m.ispkg and m.name not in HIDDEN
    )


def verbs() -> str:
    """The page of the verbs of `import holdfast`."""
    return (
        heading("holdfast", "=")
        + ".. automodule:: holdfast\n   :no-members:\n   :no-index:\n\n"
        + "".join(f".. autofunction:: holdfast.facades.{verb}\n\n" for verb in VERBS)
    )


def page(room: str) -> str:
    """The page of a room: its own words, then its objects, or its modules where it exports none."""
    name = f"holdfast.{room}"
    text = heading(name, "=") + f".. automodule:: {name}\n   :no-members:\n\n"
    found = objects(room)
    if not found:
        return text + "".join(map(module, modules(room)))
    named: dict[str, list[str]] = {}
    for path in found:
        named.setdefault(path.rpartition(".")[0], []).append(path)
    for home in sorted(named):
        text += heading(home.removeprefix(f"{name}."), "-")
        text += f".. automodule:: {home}\n   :no-members:\n\n"
        text += "".join(directive(path, found[path]) for path in named[home])
    return text


def objects(room: str) -> dict[str, Any]:
    """Public classes and functions of a room by full name: exports, and targets of catalogues."""
    package = importlib.import_module(f"holdfast.{room}")
    found: dict[str, Any] = {}
    for name in getattr(package, "__all__", ()):
        value = getattr(package, name)
        entries = value.values() if isinstance(value, Catalogue) else ()
        for each in (value, *(entry.load() for entry in entries)):
            home = getattr(each, "__module__", "") or ""
            if home.startswith(f"holdfast.{room}.") and (
                inspect.isclass(each) or inspect.isroutine(each)
            ):
                found[f"{home}.{each.__qualname__}"] = each
    return dict(sorted(found.items()))


def modules(room: str) -> list[str]:
    """The modules of a room by full name."""
    package = importlib.import_module(f"holdfast.{room}")
    return sorted(f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__))


def module(name: str) -> str:
    """A section with everything public of one module."""
    return heading(name.rpartition(".")[2], "-") + f".. automodule:: {name}\n   :members:\n\n"


def directive(path: str, value: Any) -> str:
    """The directive that documents an object."""
    if inspect.isclass(value):
        return f".. autoclass:: {path}\n   :members:\n\n"
    return f".. autofunction:: {path}\n\n"


def heading(text: str, line: str) -> str:
    """A title over its line."""
    return f"{text}\n{line * len(text)}\n\n"
