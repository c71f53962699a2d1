"""`holdfast verify`: whether a network in an ONNX file satisfies a VNN-LIB property."""

from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.running import check_out
from holdfast.core.errors import InputError

EXAMPLES = """\b
Examples:
  holdfast verify net.onnx property.vnnlib --timeout 60
  holdfast verify --instances instances.csv --folder runs/verify --out table.json

Exit code 0 if the property holds, 1 if it is violated, 3 for timeout or unknown. A list exits with
3 where a query is open, 1 where an answer contradicts the agreed one.
"""
_CODES = {"holds": 0, "violated": 1, "timeout": 3, "unknown": 3}
_SECONDS = 60.0


def verify(
    network: Annotated[str | None, typer.Argument(metavar="NET.onnx", help="The network.")] = None,
    property: Annotated[
        str | None, typer.Argument(metavar="SPEC.vnnlib", help="The property.")
    ] = None,
    instances: Annotated[
        str | None, typer.Option("--instances", metavar="FILE", help="A list of queries (CSV).")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="S", help="Seconds of a query.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="NAME", help="The bound of every box.")
    ] = "crown",
    folder: Annotated[
        str, typer.Option("--folder", metavar="DIR", help="Of a list: what is done is kept here.")
    ] = "runs/verify",
    counterexample: Annotated[
        str | None,
        typer.Option("--counterexample", metavar="FILE", help="Where a counterexample is written."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search for counterexamples.")] = 0,
    out: options.Out = None,
    json: options.Json = False,
) -> int:
    """Decide whether a network satisfies a property: holds, violated, timeout or unknown."""
    from holdfast.certify.catalogue import BOUNDS

    check_out(out)
    if timeout is not None and not timeout > 0:
        raise InputError("timeout", timeout, "is not positive", "give seconds")
    bound = BOUNDS[method].load()()
    if instances is not None:
        if network is not None:
            raise InputError("instances", instances, "is given beside a network", "give one")
        return _list(instances, folder, timeout, bound, seed, out, json=json)
    if network is None or property is None:
        remedy = "write holdfast verify NET.onnx SPEC.vnnlib, or --instances FILE"
        missing = "network" if network is None else "property"
        raise InputError(missing, None, "is missing", remedy)
    return _one(network, property, timeout, bound, seed, counterexample, out, json=json)


def _one(
    network: str,
    property: str,
    timeout: float | None,
    bound: Any,
    seed: int,
    counterexample: str | None,
    out: str | None,
    *,
    json: bool,
) -> int:
    from holdfast.benchmark.verify import verify as decide
    from holdfast.certify.onnx_reader import read_onnx
    from holdfast.certify.vnnlib import counterexample_text, read_vnnlib
    from holdfast.runs import atomic

    graph, asked = read_onnx(network), read_vnnlib(property)
    found = decide(graph, asked, timeout=timeout or _SECONDS, bound=bound, seed=seed)
    record: dict[str, Any] = {
        "network": network,
        "property": property,
        "verdict": found.verdict.value,
        "proved": found.proved,
        "method": found.method,
        "boxes": found.boxes,
        "seconds": found.seconds,
    }
    witness = ""
    if found.counterexample is not None and found.output is not None:
        witness = counterexample_text(found.counterexample, found.output)
        record["counterexample"] = found.counterexample.tolist()
        record["output"] = found.output.tolist()
    if counterexample is not None and witness:
        atomic.write_text(counterexample, witness + "\n")
    if out is not None:
        atomic.write_json(out, record)
    if json:
        output.emit_json(record)
    else:
        by = f" by {found.method}" if found.method else ""
        doubt = "" if found.proved or not by else " (rounding is not accounted for: no proof)"
        output.emit(f"{found.verdict.value}{by}{doubt}, {found.boxes} boxes, {found.seconds:.2f} s")
        if witness and counterexample is None:
            output.emit(witness)
    return _CODES[found.verdict.value]


def _list(
    instances: str,
    folder: str,
    timeout: float | None,
    bound: Any,
    seed: int,
    out: str | None,
    *,
    json: bool,
) -> int:
    from holdfast.benchmark.verify_instances import InstanceRow, verify_instances
    from holdfast.core.results import Verdict
    from holdfast.runs import atomic

    def tell(row: InstanceRow) -> None:
        output.note(f"{row.instance.network} {row.instance.property}: {row.verdict.value}")

    table = verify_instances(
        instances, folder=folder, timeout=timeout, bound=bound, seed=seed, on_row=tell
    )
    columns = table.columns()
    record = {"columns": columns, "cactus": table.cactus(), "seed": seed}
    if out is not None:
        atomic.write_json(out, record)
    if json:
        output.emit_json(record)
    else:
        rows = list(zip(*columns.values(), strict=True))
        shown = [(*row[:7], f"{row[7]:.2f}", row[8]) for row in rows]
        output.emit_table(f"{len(rows)} queries of {instances}", tuple(columns), shown)
        counts = ", ".join(f"{table.count(each)} {each.value}" for each in Verdict)
        output.emit(f"{counts}; {len(table.contradictions)} against the agreed verdict")
    if table.contradictions:
        return 1
    return 0 if all(row.decided for row in table.rows) else 3
