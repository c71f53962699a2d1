"""Tables of what can be named, and the help of the command, taken from the installed package.

```{catalogue} holdfast.attacks:ATTACKS
```
```{recipes}
```
```{command-reference}
```
"""

import importlib
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def setup(app: Any) -> dict[str, Any]:
    """Registers the directives."""
    app.add_directive("catalogue", CatalogueTable)
    app.add_directive("recipes", RecipeTable)
    app.add_directive("command-reference", CommandReference)
    return {"parallel_read_safe": True}


class CatalogueTable(SphinxDirective):
    """A catalogue, given as `package.module:NAME`, as a table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One row per entry: what it is and where from, what it promises and what it costs."""
        home, _, name = self.arguments[0].partition(":")
        entries = list(getattr(importlib.import_module(home), name).values())
        rows = [
            [
                entry.name,
                _lines(entry.summary, entry.source),
                _lines(entry.guarantee, entry.cost and f"Cost: {entry.cost}"),
            ]
            for entry in entries
        ]
        promised = any(promise for _, _, promise in rows)
        head = ["name", "what it is", *(["what it promises"] if promised else [])]
        return [table(head, [row[: len(head)] for row in rows])]


class RecipeTable(SphinxDirective):
    """The recipes that come with the library, as a table."""

    def run(self) -> list[nodes.Node]:
        """One row per recipe."""
        from holdfast.training.library import list_recipes

        return [table(["name", "what it is"], [list(each) for each in list_recipes().items()])]


class CommandReference(SphinxDirective):
    """A section per verb with what `holdfast VERB --help` prints; nouns with all their verbs."""

    def run(self) -> list[nodes.Node]:
        """The sections, after the help of the command itself."""
        from typer.main import get_command

        from holdfast.cli.main import build

        found: list[nodes.Node] = [literal(help_of())]
        for verb, command in get_command(build()).commands.items():
            section = nodes.section(ids=[f"command-{verb}"], names=[f"holdfast {verb}"])
            section += nodes.title(text=f"holdfast {verb}")
            section += literal(help_of(verb))
            section += [literal(help_of(verb, inner)) for inner in getattr(command, "commands", ())]
            found.append(section)
        return found


def literal(text: str) -> nodes.literal_block:
    """Text as it stands, not coloured."""
    return nodes.literal_block(text, text, language="none")


def help_of(*verbs: str) -> str:
    """What the command prints when asked for help on a verb."""
    from holdfast.cli.main import main

    with redirect_stdout(StringIO()) as said:
        code = main([*verbs, "--help"])
    if code:
        raise ValueError(f"holdfast {' '.join(verbs)} --help exits with {code}")
    return said.getvalue().strip("\n")


def _lines(*texts: str) -> str:
    return "\n".join(text for text in texts if text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    """A table of plain texts, a paragraph for each of their lines; the first column is code."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", row([[nodes.paragraph(text=text)] for text in head]))
    body = nodes.tbody()
    for name, *texts in rows:
        cells: list[Sequence[nodes.Node]] = [[nodes.paragraph("", "", nodes.literal(text=name))]]
        cells += [[nodes.paragraph(text=line) for line in text.splitlines()] for text in texts]
        body += row(cells)
    group += body
    return nodes.table("", group, classes=["catalogue"])


def row(cells: Sequence[Sequence[nodes.Node]]) -> nodes.row:
    """A row with one cell per list of nodes."""
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))
