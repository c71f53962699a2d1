"""The table of examples: one row per example, as parquet, written atomically; and the adversarial
examples of an evaluation as a file for other tools, `.npz` or `.parquet`.

Imports no torch.
"""

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import InputError, described, shorten
from holdfast.runs import atomic
from holdfast.runs.atomic import shown

if TYPE_CHECKING:
    import numpy

SCHEMA = "holdfast-examples/1"
ADVERSARIAL_SCHEMA = "holdfast-adversarial/1"
KINDS = (".npz", ".parquet")


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
    table = _table(file, "restore the file or run again with --resume")
    return {name: table[name].to_numpy() for name in table.column_names}


def write_adversarial(
    file: Path,
    *,
    index: Any,
    y: Any,
    outcome: Sequence[str],
    size: Any,
    margin: Any,
    x_adv: Any,
) -> None:
    """Writes the best points that attacks found, one row per example, as the file's ending says.

    In parquet `x_adv` is a column of lists of float32, all of one length; the shape of an input
    stands in the file's metadata, under `shape`. The outcome says which rows are adversarial.

    Args:
        index, y, size, margin: (N,).
        x_adv: (N, *E), NaN where no attack was run; None where none was on any: then each has 0
            features.

    Raises:
        InputError: another ending than `.npz` and `.parquet`, or the file cannot be written.
    """
    import numpy

    check_kind(file)
    points = numpy.zeros((len(outcome), 0)) if x_adv is None else numpy.asarray(x_adv)
    columns = {"index": index, "y": y, "outcome": list(outcome), "size": size, "margin": margin}
    columns = {name: numpy.asarray(values) for name, values in columns.items()}
    points = points.astype(numpy.float32)
    with atomic.replace(file) as temporary, temporary.open("wb") as sink:
        if file.suffix == ".npz":
            numpy.savez_compressed(sink, x_adv=points, **columns)
        else:
            _write_parquet(sink, columns, points)


def read_adversarial(file: Path) -> "dict[str, numpy.ndarray[Any, Any]]":
    """The columns of a file of `write_adversarial`, with `x_adv` (N, *E).

    Raises:
        InputError: another ending, or no such file.
    """
    import numpy

    check_kind(file)
    if file.suffix == ".npz":
        try:
            with file.open("rb") as source, numpy.load(source, allow_pickle=False) as found:
                return {name: found[name] for name in found.files}
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            problem = f"cannot be read as npz ({shorten(described(str(error)))})"
            raise InputError("path", shown(file), problem, "write the file again") from error
    table = _table(file, "write the file again")
    metadata = table.schema.metadata or {}
    if metadata.get(b"schema") != ADVERSARIAL_SCHEMA.encode():
        remedy = "give a file of --save-examples"
        raise InputError("path", shown(file), "holds no adversarial examples", remedy)
    shape = [int(side) for side in metadata[b"shape"].split()]
    names = [name for name in table.column_names if name != "x_adv"]
    columns = {name: table[name].to_numpy() for name in names}
    flat = numpy.zeros(0, numpy.float32)
    if "x_adv" in table.column_names:
        flat = table["x_adv"].combine_chunks().flatten().to_numpy()
    return columns | {"x_adv": flat.reshape(len(table), *shape)}


def check_kind(file: Path, argument: str = "file") -> None:
    """Refuses a file of adversarial examples of a kind that is not known."""
    if file.suffix not in KINDS:
        remedy = "name FILE.npz or FILE.parquet"
        raise InputError(argument, shown(file), "is neither .npz nor .parquet", remedy)


def _write_parquet(sink: Any, columns: Mapping[str, Any], points: Any) -> None:
    import pyarrow
    import pyarrow.parquet

    shape = points.shape[1:]
    arrays = dict(columns)
    if points.size:
        flat = pyarrow.array(points.reshape(-1))
        arrays["x_adv"] = pyarrow.FixedSizeListArray.from_arrays(flat, math.prod(shape))
    table = pyarrow.table(arrays)
    metadata = {"schema": ADVERSARIAL_SCHEMA, "shape": " ".join(map(str, shape))}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), sink)


def _table(file: Path, remedy: str) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        with file.open("rb") as source:
            return pyarrow.parquet.read_table(source)
    except (pyarrow.ArrowException, OSError) as error:
        problem = f"cannot be read as parquet ({shorten(described(str(error)))})"
        raise InputError("path", shown(file), problem, remedy) from error


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
