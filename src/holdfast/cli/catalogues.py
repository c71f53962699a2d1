"""The nouns: `recipes`, `protocols`, `threats`, `attacks`, `models`, `data` and more, each with
`list` and `show`.

What is listed comes from the rooms' catalogues, which load no torch.
"""

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.attacks.catalogue import ATTACKS
from holdfast.benchmark.catalogue import PROTOCOLS
from holdfast.certify.catalogue import BOUNDS, SEARCHES
from holdfast.cli import options, output
from holdfast.cli.running import check_out
from holdfast.core.catalogue import Entry
from holdfast.core.errors import InputError
from holdfast.data.catalogue import DATASETS
from holdfast.measures.catalogue import MEASURES
from holdfast.models.catalogue import MODELS
from holdfast.runs import atomic
from holdfast.runs.atomic import shown
from holdfast.threats.catalogue import THREATS
from holdfast.training.catalogue import OPTIMIZERS
from holdfast.training.monitors.catalogue import MONITORS
from holdfast.training.objectives.catalogue import OBJECTIVES

NOUNS = {
    "threats": (THREATS, "what may happen to an input", "linf"),
    "attacks": (ATTACKS, "what searches for wrong answers", "pgd"),
    "protocols": (PROTOCOLS, "in which order attacks are run", "standard"),
    "bounds": (BOUNDS, "what proves that there are none", "interval"),
    "searches": (SEARCHES, "what finds certified radii", "secant"),
    "models": (MODELS, "networks by name", "mnist_conv"),
    "data": (DATASETS, "data sets by name", "digits"),
    "objectives": (OBJECTIVES, "what a recipe can train for", "pgd-at"),
    "optimizers": (OPTIMIZERS, "what a recipe can train with", "adam"),
    "monitors": (MONITORS, "what can be watched while a network trains", "catastrophic"),
    "measures": (MEASURES, "what can be measured of a network on examples", "gradient-alignment"),
}
Name = Annotated[str, typer.Argument(metavar="NAME")]


def noun(plural: str) -> typer.Typer:
    """The command group of one catalogue."""
    catalogue, what, sample = NOUNS[plural]
    group = typer.Typer(
        name=plural,
        help=f"List and show {what}.",
        epilog=_examples(plural, "list", f"show {sample}"),
        rich_markup_mode=None,
        no_args_is_help=True,
    )

    def list_entries(json: options.Json = False) -> int:
        if json:
            output.emit_json([_record(entry) for entry in catalogue.values()])
        else:
            rows = [(entry.name, entry.summary, entry.source) for entry in catalogue.values()]
            output.emit_table("", ("name", "", "source"), rows)
        return 0

    def show_entry(name: Name, json: options.Json = False) -> int:
        entry = catalogue[name]
        if json:
            output.emit_json(_record(entry) | {"options": dict(_options_of(entry))})
        else:
            output.emit(_page(entry))
        return 0

    listing = _examples(plural, "list", "list --json")
    showing = _examples(plural, f"show {sample}", f"show {sample} --json")
    group.command("list", help=f"List {what}.", epilog=listing)(list_entries)
    group.command("show", help=f"Show one of {plural}.", epilog=showing)(show_entry)
    return group


def models() -> typer.Typer:
    """The group `models`, with `convert`."""
    group = noun("models")

    def convert(
        source: Annotated[str, typer.Argument(metavar="SRC", help="A torch.save file.")],
        target: Annotated[str, typer.Argument(metavar="DST", help="DST.safetensors.")],
        key: Annotated[
            str | None, typer.Option("--key", help="Under which the state dict stands.")
        ] = None,
    ) -> int:
        """Convert a torch.save file to safetensors; no code of it is executed."""
        from holdfast.models.convert import convert as convert_file

        check_out(target)
        digest = convert_file(source, target, key)
        output.emit(f"{target}  sha256 {digest}")
        return 0

    epilog = _examples("models", "convert net.pt net.safetensors", "convert a.pt b.safetensors")
    group.command("convert", epilog=epilog)(convert)
    return group


def recipes() -> typer.Typer:
    """The group `recipes`: list, show, copy, check."""
    group = typer.Typer(
        name="recipes",
        help="List, show, copy and check recipes.",
        epilog=_examples("recipes", "list", "show digits-pgd"),
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    group.command("list", epilog=_examples("recipes", "list", "list --json"))(list_known)
    shown_as = _examples("recipes", "show digits-pgd", "show mnist-fgsm-rs --json")
    group.command("show", epilog=shown_as)(show_recipe)
    copied = _examples("recipes", "copy digits-pgd mine.toml", "copy digits-standard other.toml")
    group.command("copy", epilog=copied)(copy_recipe)
    checked = _examples("recipes", "check digits-pgd", "check digits-pgd --set training.epochs=3")
    group.command("check", epilog=checked)(check_recipe)
    return group


def list_known(json: options.Json = False) -> int:
    """List the recipes that come with the library."""
    from holdfast.training.library import list_recipes

    known = list_recipes()
    if json:
        output.emit_json([{"name": name, "summary": text} for name, text in known.items()])
    else:
        output.emit_table("", ("name", ""), list(known.items()))
    return 0


def show_recipe(name: Name, json: options.Json = False) -> int:
    """Show a recipe's file, or its tables as JSON."""
    from holdfast.training.library import find_recipe, read_recipe

    path = find_recipe(name)
    values = read_recipe(path)
    if json:
        output.emit_json(values)
    else:
        output.emit(path.read_text(encoding="utf-8"))
    return 0


def copy_recipe(
    name: Name,
    target: Annotated[str | None, typer.Argument(metavar="FILE", help="NAME.toml here.")] = None,
) -> int:
    """Copy a recipe to a file of your own, to edit."""
    from holdfast.training.library import find_recipe

    source = find_recipe(name)
    path = Path(target or f"{source.stem}.toml")
    check_out(str(path))
    if path.exists():
        raise InputError("file", shown(path), "is there already", "name another file")
    atomic.write_text(path, source.read_text(encoding="utf-8"))
    output.emit(f"{path}\nnext: holdfast train {path}")
    return 0


def check_recipe(name: Name, overrides: options.Set = None, json: options.Json = False) -> int:
    """Check a recipe: unknown keys, wrong values, names that are not there."""
    from holdfast.training.recipe import load_recipe, recipe_dict

    recipe = load_recipe(name, overrides or ())
    if recipe.evaluation.protocol is not None:
        PROTOCOLS[recipe.evaluation.protocol]
    if json:
        output.emit_json(recipe_dict(recipe))
    else:
        output.emit(f"{recipe.name}: in order")
    return 0


def _record(entry: Entry) -> dict[str, Any]:
    return dataclasses.asdict(entry)


def _page(entry: Entry) -> str:
    """An entry as text, with the options of what it names."""
    told = [("", entry.summary), ("source", entry.source), ("guarantee", entry.guarantee)]
    told += [("cost", entry.cost), ("object", entry.target.replace(":", "."))]
    lines = [entry.name]
    lines += [f"  {name + ':' if name else '':<11}{text}".rstrip() for name, text in told if text]
    known = list(_options_of(entry))
    if known:
        lines.append("  options:")
        lines += [f"    {name} = {default}" for name, default in known]
    return "\n".join(lines)


def _options_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """Names and defaults of the options of what an entry names."""
    target = entry.load()
    if not callable(target):
        return
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return
    for each in parameters:
        if each.kind is not each.VAR_KEYWORD:
            required = each.default is each.empty
            yield each.name, "(required)" if required else repr(each.default)


def _examples(plural: str, *calls: str) -> str:
    return "\b\nExamples:\n" + "".join(f"  holdfast {plural} {call}\n" for call in calls)
