"""`holdfast cite`: the BibTeX of methods, or of all that a run used. Imports no torch."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import options, output
from holdfast.cli.bibliography import BIBTEX, PAPERS
from holdfast.core.errors import unknown_name
from holdfast.runs.directory import Run

EXAMPLES = """\b
Examples:
  holdfast cite pgd interval
  holdfast cite runs/first
"""


def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|RUN...", help="Of methods, models, data; or runs."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Print the BibTeX of the named methods, or of all that a run used."""
    keys = papers(names or ["holdfast"])
    if json:
        output.emit_json({key: BIBTEX[key] for key in keys})
    else:
        text = "\n\n".join(BIBTEX[key] for key in keys)
        output.emit(text or "% nothing to cite beyond the library itself")
    return 0


def papers(names: Iterable[str]) -> list[str]:
    """Keys of the papers behind these names and runs, each once, in order.

    Raises:
        InputError: a name that is not known; no run directory.

    Example:
        >>> papers(["pgd-50-10", "fgsm"])
        ['madry2018', 'goodfellow2015']
    """
    found: dict[str, None] = {}
    for name in names:
        for each in _used(name) if Path(name).is_dir() else [_known(name)]:
            found.update(dict.fromkeys(PAPERS[each]))
    return list(found)


def _known(name: str) -> str:
    """The name in the table: that of a method, or without its numbers."""
    for known in (name, plain(name)):
        if known in PAPERS:
            return known
    raise unknown_name("name", name, PAPERS)


def plain(name: str) -> str:
    """A name without its numbers: `fab-t` of `fab-t-7`, `linf` of `linf:8/255`.

    Example:
        >>> plain("pgd-7-2-eps/4"), plain("hop-skip-jump-1000"), plain("l1:12")
        ('pgd', 'hop-skip-jump', 'l1')
    """
    return re.sub(r"(-(\d|eps)[^-]*)+$", "", name.partition(":")[0])


def _used(folder: str) -> list[str]:
    """The names of everything that a run used, as far as they are known."""
    run = Run.open(folder)
    result = run.read_result() if run.finished else {}
    recipe = run.read_recipe() if run.recipe_file.is_file() else {}
    nested = result.get("evaluation")
    evaluated = nested if isinstance(nested, Mapping) else result
    names = ["holdfast", *_of_evaluation(evaluated), *_of_recipe(recipe)]
    names += [str(run.describe().get(key, "")) for key in ("model", "data")]
    known = []
    for name in names:
        for each in (name, plain(name)):
            if each in PAPERS:
                known.append(each)
                break
    return list(dict.fromkeys(known))


def _of_evaluation(result: Mapping[str, Any]) -> list[str]:
    names = [row["name"].removeprefix("audit-") for row in result.get("attacks", ())]
    names += [str((result.get("protocol") or {}).get("name", ""))]
    names += list(result.get("certified_by", ()))
    names += [str(result.get(key, "")) for key in ("threat", "model")]
    return [*names, "clopper-pearson"] if "robust_interval" in result else names


def _of_recipe(recipe: Mapping[str, Any]) -> list[str]:
    """The parts of a recipe by their kinds."""
    training = recipe.get("training", {})
    parts = [recipe.get("objective"), training.get("optimizer"), recipe.get("model")]
    parts += [recipe.get("data"), *recipe.get("data", {}).get("augment", ())]
    names = [recipe.get("threat", "")]
    for part in parts:
        if isinstance(part, Mapping):
            names.append(str(part.get("kind") or part.get("name") or ""))
        elif part:
            names.append(str(part))
    return names
