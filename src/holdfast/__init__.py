"""Adversarial robustness of neural networks: attack, evaluate, train, certify, report.

`evaluate`, `train`, `certify`, `certified_radii`, `attack` and `load` are the whole library in one
call each (see `holdfast.facades`); everything else lies in the rooms. Importing this package loads
neither torch nor numpy. `holdfast.certify` is a room as well as a verb: the module can be called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from holdfast.core.lazy import attach

if TYPE_CHECKING:
    from holdfast.facades import attack as attack
    from holdfast.facades import certified_radii as certified_radii
    from holdfast.facades import evaluate as evaluate
    from holdfast.facades import load as load
    from holdfast.facades import train as train

__version__ = "0.1.0"

_get, __dir__, __all__ = attach(
    __name__,
    dict.fromkeys(
        ("attack", "certified_radii", "certify", "evaluate", "load", "train"), ".facades"
    ),
)


def __getattr__(name: str) -> Any:
    return import_module(".certify", __name__) if name == "certify" else _get(name)


class _Room(ModuleType):
    """The room `certify`, which can be called: `holdfast.certify(model, data, threat=...)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return import_module(".facades", __package__).certify(*args, **kwargs)


class _Package(ModuleType):
    """The package; makes the room `certify` callable when it is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "certify" and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
