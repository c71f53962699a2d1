"""Catalogues: what is registered under which name, with its source, guarantee and cost."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import unknown_name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered object.

    Args:
        name: how users call it.
        target: `package.module:object`, imported by `load`.
        summary: one line.
        source: authors, year, section or arXiv number.
        guarantee: what its result may be relied on for.
        cost: forwards and backwards per example, or parameters of a model.
    """

    name: str
    target: str
    summary: str
    source: str = ""
    guarantee: str = ""
    cost: str = ""

    def load(self) -> Any:
        """Imports and returns the object."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


class Catalogue(Mapping[str, Entry]):
    """Entries of one kind, by name, in the order given.

    Example:
        >>> fgsm = Entry(name="fgsm", target="holdfast.attacks:FGSM", summary="one step")
        >>> attacks = Catalogue("attack", fgsm)
        >>> attacks["fgsm"].summary
        'one step'
    """

    def __init__(self, kind: str, *entries: Entry):
        self.kind = kind
        self._entries = {entry.name: entry for entry in entries}
        if len(self._entries) != len(entries):
            raise ValueError(f"a name stands twice in the catalogue of {kind}")

    def __getitem__(self, name: str) -> Entry:
        """The entry, or an InputError that suggests the nearest name."""
        try:
            return self._entries[name]
        except KeyError:
            raise unknown_name(self.kind, name, self._entries) from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other
