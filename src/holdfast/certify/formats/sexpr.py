"""Symbolic expressions with their places in a file: what VNN-LIB and SMT-LIB are written in.

    form = atom | ( form ... )          ; a comment runs to the end of the line

Source: Barrett, Fontaine, Tinelli 2021, The SMT-LIB Standard 2.6, sec 3.1 and 3.2.
Departures: no strings, no quoted symbols; nesting is limited.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from holdfast.core.errors import InputError, described, shorten

_TOKEN = re.compile(r"\s+|;[^\n]*|(?P<token>[()]|[^\s();]+)")
_DEEPEST = 100


class Atom(NamedTuple):
    """A word or number; `at` is where it starts in the text."""

    text: str
    at: int


class Form(NamedTuple):
    """A list in parentheses; `at` is where it starts in the text."""

    parts: tuple["Atom | Form", ...]
    at: int

    @property
    def head(self) -> str:
        """The first part, if it is a word; else empty."""
        return self.parts[0].text if self.parts and isinstance(self.parts[0], Atom) else ""


@dataclass(frozen=True, eq=False)
class Document:
    """A text and its name, for errors that name the line."""

    name: str
    text: str

    @classmethod
    def read(cls, path: str | Path) -> "Document":
        """The document in a file, which may be compressed (`.gz`).

        Raises:
            InputError: the file cannot be read.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
            data = gzip.decompress(data) if path.suffix == ".gz" else data
        except (OSError, EOFError, zlib.error) as cause:
            remedy = "give a VNN-LIB file"
            raise InputError("property", str(path), f"cannot be read ({cause})", remedy) from cause
        return cls(path.name, data.decode("utf-8", errors="replace"))

    def fail(self, at: int, problem: str, remedy: str) -> NoReturn:
        """Raises InputError with the name of the document and the line of a place."""
        line = self.text.count("\n", 0, at) + 1
        raise InputError("property", described(f"{self.name}, line {line}"), problem, remedy)

    def forms(self) -> list[Form]:
        """The lists of the document, in order.

        Raises:
            InputError: parentheses do not match, or something stands outside of them.
        """
        found: list[Form] = []
        opened: list[tuple[int, list[Atom | Form]]] = []
        for text, at in self._tokens():
            if text == "(":
                opened.append((at, []))
                if len(opened) > _DEEPEST:
                    self.fail(at, "is nested too deeply", f"nest at most {_DEEPEST} lists")
            elif not opened:
                self.fail(at, f"{shorten(text)} stands outside of a list", "write (assert ...)")
            elif text != ")":
                opened[-1][1].append(Atom(text, at))
            else:
                start, parts = opened.pop()
                form = Form(tuple(parts), start)
                (opened[-1][1] if opened else found).append(form)
        if opened:
            self.fail(opened[0][0], "the list that starts here has no end", "add a parenthesis")
        return found

    def _tokens(self) -> Iterator[tuple[str, int]]:
        for match in _TOKEN.finditer(self.text):
            if match["token"]:
                yield match["token"], match.start()
