"""The options that several verbs share, and how their texts are read. Imports no torch."""

from collections.abc import Sequence
from typing import Annotated

import typer

from holdfast.core.errors import InputError
from holdfast.core.numbers import number

Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="A registered name, package.module:factory, a training run, or a .safetensors file.",
    ),
]
Weights = Annotated[
    str | None, typer.Option("--weights", metavar="FILE", help="A safetensors file to load.")
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="NAME|PATH", help="A data set's name, a file or a folder."),
]
DataDir = Annotated[
    str | None, typer.Option("--data-dir", metavar="DIR", help="Where named data sets lie.")
]
Threat = Annotated[
    str | None,
    typer.Option("--threat", metavar="TEXT", help="What may happen to an input: linf:8/255."),
]
Protocol = Annotated[
    str | None,
    typer.Option("--protocol", metavar="NAME", help="Which attacks are run, and in what order."),
]
Radii = Annotated[
    str | None,
    typer.Option("--radii", metavar="R,R", help="Further radii at which accuracy is wanted."),
]
Normalize = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--normalize",
        metavar="MEAN STD",
        help="What the model's inputs are normalised with; a number, or one per channel: A,B,C.",
    ),
]
Split = Annotated[str, typer.Option("--split", help="Of data given by name or path.")]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", help="The first N examples only.")
]
SaveExamples = Annotated[
    str | None,
    typer.Option(
        "--save-examples",
        metavar="FILE.npz|FILE.parquet",
        help="Also write the examples found.",
    ),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", metavar="B", help="Rows in flight; changes no result.")
]
Block = Annotated[
    int | None, typer.Option("--block", metavar="N", help="Rows of every call of the model.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="Of everything random.")]
OwnSeed = Annotated[
    int | None, typer.Option("--seed", metavar="S", help="Instead of the recipe's.")
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", help="Threads of each process.")
]
Dtype = Annotated[str, typer.Option("--dtype", help="float32 is the only one.")]
Jobs = Annotated[int, typer.Option("--jobs", metavar="N", help="Processes that share the work.")]
RunDir = Annotated[
    str | None,
    typer.Option(
        "--run",
        "--run-dir",  # torchrun takes --run for an abbreviation of its own --run-path
        metavar="DIR",
        help="The run directory; by default runs/<verb>-<model>-<data>-<n>.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Continue the run of --run, or the newest unfinished one."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would run and what it costs at most.")
]
Out = Annotated[
    str | None, typer.Option("--out", metavar="FILE", help="Also write the result there.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe; repeatable."),
]


def numbers(text: str | None, argument: str) -> tuple[float, ...]:
    """The numbers of a comma-separated text.

    Example:
        >>> numbers("0.5, 8/16", "radii")
        (0.5, 0.5)
    """
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(number(part, argument) for part in parts if part)


def statistics(
    pair: Sequence[str] | None,
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation, by channel, of `--normalize`.

    Example:
        >>> statistics(("0.5", "0.25,0.2"))
        ((0.5,), (0.25, 0.2))
    """
    if pair is None:
        return None
    mean, std = (numbers(text, "normalize") for text in pair)
    if not mean or not std:
        raise InputError("normalize", " ".join(pair), "names no numbers", "give MEAN STD")
    return mean, std


def device(text: str) -> str | None:
    """None for `auto`, else the text."""
    return None if text == "auto" else text


def check_common(*, seed: int | None, threads: int | None = None, dtype: str = "float32") -> None:
    """Refuses values of the shared options that no verb takes.

    Raises:
        InputError: a seed that is none, threads below 1, a type other than float32.
    """
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError("seed", seed, "is not a seed", "give a whole number from 0 to 2**63 - 1")
    if threads is not None and threads < 1:
        raise InputError("threads", threads, "is below 1", "give a whole number from 1")
    if dtype != "float32":
        problem = "is not for a reported attack or bound"
        raise InputError("dtype", dtype, problem, "use float32; training has training.precision")
