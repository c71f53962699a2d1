"""The table of examples: one row per example, as parquet, written atomically.

Imports no torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError, described, shorten
from holdfast.runs import atomic
from holdfast.runs.atomic import shown

if TYPE_CHECKING:
    import numpy

SCHEMA = "holdfast-examples/1"


def write(file: Path, columns: Mapping[str, Any]) -> None:
    """Writes the columns; see `Run.write_examples`."""
    import pyarrow
    import pyarrow.parquet

    arrays = {name: _arrow(name, values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise InputError("columns", lengths, "differ in length", "give one row per example")
    table = pyarrow.table(arrays).replace_schema_metadata({"schema": SCHEMA})
    with atomic.replace(file) as temporary, temporary.open("wb") as sink:
        pyarrow.parquet.write_table(table, sink)


def read(file: Path) -> "dict[str, numpy.ndarray[Any, Any]]":
    """The columns of the file; see `Run.read_examples`."""
    import pyarrow
    import pyarrow.parquet

    try:
        with file.open("rb") as source:
            table = pyarrow.parquet.read_table(source)
    except (pyarrow.ArrowException, OSError) as error:
        problem = f"cannot be read as parquet ({shorten(described(str(error)))})"
        remedy = "restore the file or run again with --resume"
        raise InputError("path", shown(file), problem, remedy) from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _arrow(name: str, values: Any) -> Any:
    """A column for pyarrow; a tensor leaves its device, rows of a matrix become lists."""
    import pyarrow

    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    if getattr(values, "ndim", 1) > 1:
        values = list(values.reshape(len(values), -1))
    try:
        return pyarrow.array(values)
    except pyarrow.ArrowException as error:
        problem, remedy = f"has no column type ({error})", "give values of one type"
        raise InputError(f"columns[{name!r}]", values, problem, remedy) from error
