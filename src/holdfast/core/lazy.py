"""Packages that import their modules on first use: `import holdfast` and `--help` need no torch."""

import importlib
from collections.abc import Callable, Mapping


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """The `__getattr__`, `__dir__` and `__all__` of a package that imports on first use.

    Args:
        package: the package's `__name__`.
        homes: public name -> module that holds it, relative to the package (`.balls`) or absolute.
    """

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name], package), name)

    return get, lambda: sorted(homes), sorted(homes)
