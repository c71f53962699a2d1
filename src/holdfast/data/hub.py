"""The Hugging Face hub, where there is a network.

`datasets` downloads and keeps the files; the images are decoded by the same code as local ones.
"""

from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import InputError
from holdfast.core.optional import optional
from holdfast.data.checks import check_limit
from holdfast.data.images import Arrays
from holdfast.data.parquet import from_table


@dataclass(frozen=True)
class Hub:
    """The address of a set: the repository, and its configuration where it has several."""

    repository: str
    configuration: str | None = None


def load_hub(name: str, hub: Hub, split: str, limit: int | None = None) -> Arrays:
    """A split of a set from the hub, or from its local cache.

    Raises:
        MissingExtra: the package `datasets` is absent or broken.
        InputError: the hub cannot be reached or has no such set; too large a limit.
    """
    datasets = optional("datasets", extra="data")
    try:
        source = datasets.load_dataset(hub.repository, hub.configuration, split=split)
        table = _table(source, limit)
    except InputError:
        raise
    except Exception as cause:  # a client of a network raises whatever its layers raise
        reason = f"is not on this machine and the hub failed ({type(cause).__name__})"
        remedy = "give a folder that holds it: --data-dir, or HOLDFAST_DATA"
        raise InputError("data", name, reason, remedy) from cause
    return from_table(table, table.schema.metadata, split, f"{hub.repository} {split}")


def _table(source: Any, limit: int | None) -> Any:
    """The Arrow table of the first rows, with the images still encoded."""
    count = len(source) if limit is None else check_limit(limit, len(source))
    return source.with_format("arrow")[:count]
