"""Docstrings of the house as reStructuredText.

The sources are written to be read in an editor: plain text, formulas by indentation, sections such
as `Guarantee:` and `Cost:`. Nothing in them is markup but single backquotes, so that everything
else is escaped here; what is indented is shown as it stands.
"""

import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

SECTIONS = [
    "Args",
    "Returns",
    "Yields",
    "Guarantee",
    "Cost",
    "Needs",
    "Source",
    "Sources",
    "Symbols",
    "Thesis",
    "Departures",
    "Raises",
    "Attributes",
    "Columns",
    "Note",
    "Notes",
    "Example",
    "Examples",
]
HEADER = re.compile(rf"^({'|'.join(SECTIONS)})( \([^)]*\))?:(?: +(.*))?$")
ITEM = re.compile(r"^([\w*., `-]+?): +(.*)$")
SPECIAL = re.compile(r"([\\*|_<>:])")


def setup(app: Any) -> dict[str, Any]:
    """Registers what rewrites docstrings and signatures."""
    app.connect("autodoc-process-docstring", rewrite, priority=100)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True}


def rewrite(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Replaces the lines of a docstring by reStructuredText."""
    lines[:] = list(converted(lines))


def shorten(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str] | None:
    """Signatures with `int` in place of `Annotated[int, Range(ge=1)]`."""
    return None if signature is None else (bare(signature), bare(returns or ""))


def bare(text: str) -> str:
    """Without the constraints of `Annotated`.

    Example:
        >>> bare("(steps: Annotated[int, Range(ge=1)] = 50)")
        '(steps: int = 50)'
    """
    head, found, rest = text.partition("Annotated[")
    if not found:
        return text
    depth, cut, end = 0, None, len(rest)
    for at, sign in enumerate(rest):
        if sign in "[(":
            depth += 1
        elif sign in "])" and depth:
            depth -= 1
        elif sign == "," and not depth and cut is None:
            cut = at
        elif sign == "]":
            end = at
            break
    return head + bare(rest[: end if cut is None else cut] + rest[end + 1 :])


def converted(lines: list[str]) -> Iterator[str]:
    """A docstring's lines as reStructuredText, section by section."""
    for header, body in sections(lines):
        if header is None:
            yield from prose(body)
        elif header.startswith(("Args", "Attributes")):
            yield from items(body, ":param {}: {}")
        elif header.startswith("Raises"):
            yield from items(body, ":raises {}: {}")
        elif header.startswith("Example"):
            yield from ("", ".. rubric:: Example", "", *example(body), "")
        else:
            first, *rest = list(prose(body)) or [""]
            apart = first in ("", "::")
            yield from ("", f"**{header}.** " + ("" if apart else first))
            yield from (["", first] if apart else [])
            yield from rest


def sections(lines: list[str]) -> Iterator[tuple[str | None, list[str]]]:
    """The parts of a docstring: its header (None for the text before any) and its lines."""
    header: str | None = None
    body: list[str] = []
    for line in lines:
        found = HEADER.match(line)
        outside = bool(line.strip()) and not line.startswith(" ")
        if found or (outside and header is not None and body and not body[-1].strip()):
            yield header, body
            header = f"{found[1]}{found[2] or ''}" if found else None
            body = [found[3]] if found and found[3] else [] if found else [line]
        else:
            body.append(line)
    yield header, body


def prose(lines: list[str]) -> Iterator[str]:
    """Paragraphs with everything escaped; indented blocks as they stand."""
    for block in blocks(aligned(lines)):
        if block[0].startswith("  "):
            yield from ("::", "", *("    " + line for line in dedent("\n".join(block)).split("\n")))
        else:
            yield from (escaped(line.strip()) for line in block)
        yield ""


def aligned(lines: list[str]) -> list[str]:
    """A section's lines without the indentation of a continuation."""
    if not lines:
        return []
    first, rest = lines[0], [line for line in lines[1:] if line.strip()]
    if not first.startswith(" ") and rest and all(line.startswith("    ") for line in rest):
        return [first, *dedent("\n".join(lines[1:])).split("\n")]
    return dedent("\n".join(lines)).split("\n")


def blocks(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that belong together: split at blank lines and where indentation begins."""
    block: list[str] = []
    for line in lines:
        turns = bool(block) and block[0].startswith("  ") != line.startswith("  ")
        if block and (not line.strip() or turns):
            yield block
            block = []
        if line.strip():
            block.append(line)
    if block:
        yield block


def items(lines: list[str], form: str) -> Iterator[str]:
    """`name: text` with its continuation lines, as fields."""
    yield ""
    entries: list[list[str]] = []
    for line in dedent("\n".join(lines)).split("\n"):
        if line.startswith(" ") and entries:
            entries[-1].append(line.strip())
        elif line.strip():
            entries.append([line.strip()])
    for entry in entries:
        found = ITEM.match(" ".join(entry))
        name, text = (found[1], found[2]) if found else ("", " ".join(entry))
        if not name:
            yield from (escaped(text), "")
        else:
            yield form.format(name.replace("`", "").replace("*", ""), escaped(text))
    yield ""


def example(lines: list[str]) -> list[str]:
    """The example as a block of Python."""
    code = dedent("\n".join(lines)).strip("\n").split("\n")
    return [".. code-block:: pycon", "", *("    " + line for line in code)]


def escaped(text: str) -> str:
    r"""Text in which only single backquotes are markup.

    Example:
        >>> escaped("x (B, *E) of `keys`")
        'x (B, \\*E) of ``keys``'
    """
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return SPECIAL.sub(r"\\\1", text.replace("`", "'"))
    made = ""
    for number, part in enumerate(parts):
        if number % 2 == 0:
            made += SPECIAL.sub(r"\\\1", part)
        elif part:
            made += f"{spaced(made)}``{part}``" + ("\\ " if glued(parts[number + 1]) else "")
    return made


def spaced(before: str) -> str:
    """What lets markup begin after this text."""
    return "\\ " if before and (before[-1].isalnum() or before[-1] == "`") else ""


def glued(after: str) -> bool:
    """Whether markup cannot end before this text."""
    return bool(after) and (after[0].isalnum() or after[0] in "_`")
