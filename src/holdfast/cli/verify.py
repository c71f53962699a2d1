"""`holdfast verify`: whether a network in an ONNX file satisfies a VNN-LIB property."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.running import check_out, command, kept_run
from holdfast.core.errors import InputError
from holdfast.core.optional import optional

if TYPE_CHECKING:
    from holdfast.benchmark.instances import InstanceRow
    from holdfast.runs.directory import Run

EXAMPLES = """\b
Examples:
  holdfast verify net.onnx property.vnnlib --timeout 60
  holdfast verify --instances instances.csv --jobs 2 --run runs/verified

A list is a file of lines NETWORK,PROPERTY,SECONDS with paths relative to it; a header may name a
fourth column `verdict`. --ray goes to the cluster of RAY_ADDRESS, else to one on this machine,
else starts one; nodes need the same holdfast and the files under the same paths. Exit code 0 if
the property holds, 1 if it is violated, 3 for timeout or unknown. A list exits with 3 where a
query is open, 1 where an answer contradicts the agreed one.
"""
_CODES = {"holds": 0, "violated": 1, "timeout": 3, "unknown": 3}
_SECONDS = 60.0
_SHOWN = 40  # lines of a counterexample that are shown


@dataclass(frozen=True)
class Asked:
    """What the options say of how queries are decided."""

    timeout: float | None
    method: str | None
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """For `benchmark.verify`; what is left out has the default of it."""
        from holdfast.certify.catalogue import BOUNDS

        chosen: dict[str, Any] = {"seed": self.seed}
        if self.method is not None:
            chosen["bound"] = BOUNDS[self.method].load()()
        return chosen


def verify(
    network: Annotated[str | None, typer.Argument(metavar="NET.onnx", help="The network.")] = None,
    property: Annotated[
        str | None, typer.Argument(metavar="SPEC.vnnlib", help="The property.")
    ] = None,
    instances: Annotated[
        str | None, typer.Option("--instances", metavar="FILE", help="A list of queries (CSV).")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout", metavar="S", help="Seconds of a query; by default 60, or the list's own."
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method", metavar="NAME", help="Bound boxes of inputs with this, and cut them."
        ),
    ] = None,
    counterexample: Annotated[
        str | None,
        typer.Option("--counterexample", metavar="FILE", help="Also write a counterexample there."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="The first N queries of a list.")
    ] = None,
    jobs: options.Jobs = 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="Share a list over a Ray cluster, instead of --jobs.")
    ] = False,
    run: options.RunDir = None,
    resume: options.Resume = False,
    out: options.Out = None,
    json: options.Json = False,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> int:
    """Decide whether a network satisfies a property: holds, violated, timeout or unknown."""
    _check(network, property, instances, timeout, counterexample, limit, jobs, ray)
    options.check_common(seed=seed)
    asked = Asked(timeout, method, seed)
    asked.options  # noqa: B018  refuses an unknown method before a run directory is made
    for file in (out, counterexample):
        check_out(file)
    if instances is not None:
        title = Path(instances).absolute()
        names = (title.parent.name, title.name.removesuffix(".gz"))
    else:
        names = (_plain(str(network)), _plain(str(property)))
    with kept_run("verify", *names, run, resume=resume, out=out) as kept:
        if instances is not None:
            listed = Listed(instances, limit, jobs, ray, quiet)
            result = _list(listed, asked, kept)
        else:
            result = _one(str(network), str(property), asked, counterexample, kept)
        _publish(kept, result)
    return _show(result, kept, json=json)


@dataclass(frozen=True)
class Listed:
    """A list of queries, and how it is worked through."""

    path: str
    limit: int | None
    jobs: int
    ray: bool
    quiet: bool


def _plain(path: str) -> str:
    """A file's name for that of a run."""
    return Path(path).name.removesuffix(".gz")


def _check(
    network: str | None,
    property: str | None,
    instances: str | None,
    timeout: float | None,
    counterexample: str | None,
    limit: int | None,
    jobs: int,
    ray: bool,
) -> None:
    """Refuses options that do not go together."""
    if timeout is not None and not 0 < timeout < float("inf"):
        raise InputError("timeout", timeout, "is not positive and finite", "give seconds")
    for name, value in (("jobs", jobs), ("limit", limit)):
        if value is not None and value < 1:
            raise InputError(name, value, "is not positive", "give a whole number from 1")
    if ray:
        _check_ray(instances, jobs)
    if instances is not None:
        if network is not None:
            raise InputError("instances", instances, "is given beside a network", "give one")
        if counterexample is not None:
            remedy = "leave it out: those of a list are in its run directory"
            raise InputError("counterexample", counterexample, "is given with a list", remedy)
        return
    if network is None or property is None:
        remedy = "write holdfast verify NET.onnx SPEC.vnnlib, or --instances FILE"
        missing = "network" if network is None else "property"
        raise InputError(missing, None, "is missing", remedy)
    for name, value in (("jobs", jobs if jobs > 1 else None), ("limit", limit)):
        if value is not None:
            raise InputError(name, value, "is for a list", "give --instances FILE, or leave it out")


def _check_ray(instances: str | None, jobs: int) -> None:
    if instances is None:
        raise InputError("ray", True, "is for a list", "give --instances FILE, or leave it out")
    if jobs > 1:
        raise InputError("jobs", jobs, "is given beside --ray", "use one of the two")
    optional("ray", extra="ray")


def _one(
    network: str, property: str, asked: Asked, counterexample: str | None, run: "Run"
) -> dict[str, Any]:
    """The result of one query, its counterexample on the disk."""
    from holdfast.benchmark.instances import Instance
    from holdfast.benchmark.verify_instances import answer_query, counterexample_file
    from holdfast.runs import atomic

    run.settings({"network": network, "property": property, **_settings(asked)})
    instance = Instance(network, property, asked.timeout or _SECONDS)
    found = answer_query(instance, ".", **asked.options)
    result: dict[str, Any] = {"verb": "verify", **found.row.to_dict()}
    if found.result is not None and found.result.counterexample is not None:
        file = counterexample_file(run.path, 0)
        result["counterexample"] = found.result.counterexample.tolist()
        result["output"] = _floats(found.result.output)
        result["counterexample_file"] = str(file.relative_to(run.path))
        for each in (file, counterexample):
            if each is not None:
                atomic.write_text(each, found.counterexample + "\n")
    if found.replay is not None:
        result["replay"] = {
            "by": found.replay.executor,
            "confirmed": found.replay.confirmed,
            "excess": found.replay.excess,
            "output": _floats(found.replay.output),
            "problem": found.replay.problem,
        }
    return result


def _floats(values: Any) -> list[float] | None:
    return None if values is None else values.tolist()


def _list(listed: Listed, asked: Asked, run: "Run") -> dict[str, Any]:
    """The result of a list of queries."""
    from holdfast.benchmark.instances import read_instances
    from holdfast.benchmark.verify_instances import verify_instances
    from holdfast.core.recipes import content_hash

    known = read_instances(listed.path)
    wanted = known[: listed.limit]
    run.settings({"instances": content_hash(repr(wanted)), **_settings(asked)})
    table = verify_instances(
        listed.path,
        folder=run.path,
        jobs=listed.jobs,
        ray=listed.ray,
        timeout=asked.timeout,
        on_row=None if listed.quiet else tell,
        limit=listed.limit,
        **asked.options,
    )
    return {
        "verb": "verify",
        "instances": listed.path,
        "jobs": listed.jobs,
        "ray": listed.ray,
        **table.to_dict(),
        "cactus": table.cactus(),
    }


def _settings(asked: Asked) -> dict[str, Any]:
    """What a resumed run must have in common with this one."""
    return {"timeout": asked.timeout, "method": asked.method, "seed": asked.seed}


def tell(row: "InstanceRow") -> None:
    """A line of progress on stderr, from whichever process answered."""
    said = f"{row.verdict.value:<9}{row.seconds:9.2f} s  "
    said += f"{row.instance.network} {row.instance.property}"
    sys.stderr.write(f"{said}  {row.problem}".rstrip() + "\n")
    sys.stderr.flush()


def _publish(run: "Run", result: dict[str, Any]) -> None:
    """Writes the result and the page."""
    from holdfast.report.verification import write_verification
    from holdfast.runs.environment import environment

    result |= {"command": command(), "environment": environment()}
    run.write_result(result)
    write_verification(run)


def _show(result: Mapping[str, Any], run: "Run", *, json: bool) -> int:
    """The answer on stdout, and the exit code."""
    if json:
        output.emit_json({**result, "run": str(run.path)})
    elif "queries" in result:
        _show_list(result, run)
    else:
        _show_one(result, run)
    if "queries" not in result:
        return _CODES[result["verdict"]]
    if result["contradictions"]:
        return 1
    return 0 if all(_CODES[row["verdict"]] < 3 for row in result["queries"]) else 3


def _show_one(result: Mapping[str, Any], run: "Run") -> None:
    by = f" by {result['method']}" if result["method"] else ""
    doubt = "" if result["proved"] or not by else " (rounding is not accounted for: no proof)"
    verdict, boxes, seconds = (result[key] for key in ("verdict", "boxes", "seconds"))
    output.emit(f"{verdict}{by}{doubt}, {boxes} boxes, {seconds:.2f} s")
    if (again := result.get("replay")) is not None:
        said = "confirmed" if again["confirmed"] else f"not confirmed, by {again['excess']:.3g}"
        output.emit(f"replayed by {again['by']}: {said}")
        output.warn([again["problem"]] if again["problem"] else [])
        text = (run.path / result["counterexample_file"]).read_text()
        if text.count("\n") <= _SHOWN:
            output.emit(text)
        output.emit(f"counterexample: {run.path / result['counterexample_file']}")
    output.emit(f"run: {run.path}")


def _show_list(result: Mapping[str, Any], run: "Run") -> None:
    columns = ("network", "property", "agreed", "verdict", "by", "boxes", "seconds")
    rows = [
        (
            _stem(row["network"]),
            _stem(row["property"]),
            row["expected"] or "",
            row["verdict"] + ("" if row["proved"] or _CODES[row["verdict"]] > 1 else " (no proof)"),
            row["method"],
            row["boxes"],
            round(row["seconds"], 2),
        )
        for row in result["queries"]
    ]
    output.emit_table(f"{len(rows)} queries of {result['instances']}", columns, rows)
    counts = ", ".join(f"{count} {word}" for word, count in result["counts"].items())
    against = len(result["contradictions"])
    output.emit(f"{counts}; {against} against the agreed verdict; {result['seconds']:.1f} s")
    problems = {f"{row['network']}: {row['problem']}" for row in result["queries"]}
    output.warn(sorted(each for each in problems if not each.endswith(": ")))
    if result["unconfirmed"]:
        output.warn([f"{result['unconfirmed']} counterexamples are not confirmed by their replay"])
    output.emit(f"report: {run.report_file}")
    output.emit(f"run: {run.path}")


def _stem(path: str) -> str:
    """The name of a file without its folder and ending, which are the same in most lists."""
    return Path(path.removesuffix(".gz")).stem
