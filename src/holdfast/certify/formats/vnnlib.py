"""VNN-LIB 1.0: properties of networks as written for the verification competitions.

A file declares real inputs X_0 ... X_(n-1) and outputs Y_0 ... Y_(K-1), and asserts what an unsafe
input and its output satisfy:

    (declare-const X_0 Real)
    (assert (<= X_0 0.5))
    (assert (or (and (>= Y_1 Y_0)) (and (>= Y_2 Y_0))))

Any nesting of `and` and `or` over comparisons `<=`, `>=` and `=` of linear terms (+, -, *, / with
numbers) is brought into disjunctive normal form: one `Case` for each conjunction.

Numbers are added up exactly, and each number of the normal form is then rounded to the nearest
float64 once; the property of these numbers is the one that is decided.

Source: Demarchi, Guidotti, Pulina, Tacchella 2023, VNN-LIB 1.0; the VNN-COMP 2021 rules for the
    counterexample.
Departures: every input must be bounded by numbers (no linear constraints across inputs, none
    between inputs and outputs); strict comparisons are refused, as in the competition.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import inf, isfinite
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from holdfast.certify.formats.properties import Case, Property
from holdfast.certify.formats.sexpr import Atom, Document, Form
from holdfast.core.errors import shorten

_NAME = re.compile(r"([XY])_(0|[1-9][0-9]{0,8})")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")
_MOST_CASES = 100_000
_LONGEST_NUMBER = 400

Terms = dict[str, Fraction]


def read_vnnlib(path: str | Path) -> Property:
    """The property in a VNN-LIB file, which may be compressed (`.gz`).

    Raises:
        InputError: with the name of the file and the line, what cannot be read and what to write.
    """
    return _Reading(Document.read(path)).property()


def parse_vnnlib(text: str, name: str = "text") -> Property:
    """The property in a text.

    Raises:
        InputError: with the line, what cannot be read and what to write.

    Example:
        >>> text = "(declare-const X_0 Real) (declare-const Y_0 Real)"
        >>> text += "(assert (and (>= X_0 -1) (<= X_0 1))) (assert (or (<= Y_0 2) (>= Y_0 3)))"
        >>> [case.limits.tolist() for case in parse_vnnlib(text).cases]
        [[2.0], [-3.0]]
    """
    return _Reading(Document(name, text)).property()


def counterexample_text(x: Tensor, y: Tensor) -> str:
    """An input and its output in the form of the competition, with all digits.

    Args:
        x: the input, flattened to (n,).
        y: the output, flattened to (K,).

    Example:
        >>> print(counterexample_text(torch.tensor([0.5, -1.0]), torch.tensor([2.0])))
        sat
        ((X_0 0.5)
         (X_1 -1.0)
         (Y_0 2.0))
    """
    pairs = [f"(X_{i} {value!r})" for i, value in enumerate(x.flatten().tolist())]
    pairs += [f"(Y_{i} {value!r})" for i, value in enumerate(y.flatten().tolist())]
    return "sat\n(" + "\n ".join(pairs) + ")"


class _Constraint(NamedTuple):
    """Terms <= limit; `at` is its place in the file."""

    terms: Terms
    limit: Fraction
    at: int


_Clauses = list[list[_Constraint]]


class _Reading:
    """One pass over a document."""

    def __init__(self, document: Document):
        self.document, self.fail = document, document.fail
        self.declared: dict[str, int] = {}
        self.common: list[_Constraint] = []
        self.choices: list[_Clauses] = []

    def property(self) -> Property:
        """The property of the whole document."""
        for form in self.document.forms():
            if form.head in ("declare-const", "declare-fun"):
                self._declare(form)
            elif form.head == "assert":
                self._assert(form)
            elif form.head not in _IGNORED:
                self.fail(form.at, f"{shorten(form.head)} is not known", "write (assert ...)")
        inputs, outputs = self._count("X"), self._count("Y")
        clauses: _Clauses = [[]]
        for choice in self.choices:
            clauses = self._product(clauses, choice, choice[0][0].at)
        start = self._narrowed(_Draft([-inf] * inputs, [inf] * inputs, [], []), self.common)
        drafts = (self._narrowed(start, clause) for clause in clauses) if start else ()
        cases = tuple(self._case(draft, outputs) for draft in drafts if draft)
        return Property(inputs, outputs, cases, self.document.name)

    def _declare(self, form: Form) -> None:
        words = [part.text if isinstance(part, Atom) else "()" for part in form.parts]
        wanted = 4 if form.head == "declare-fun" else 3
        if len(words) != wanted or words[-1] != "Real" or (wanted == 4 and words[2] != "()"):
            self.fail(form.at, "is no declaration", "write (declare-const X_0 Real)")
        name = words[1]
        if not _NAME.fullmatch(name):
            self.fail(form.at, f"{shorten(name)} is no name of a variable", "use X_0, Y_0, ...")
        if name in self.declared:
            self.fail(form.at, f"{name} is declared twice", "declare each variable once")
        self.declared[name] = form.at

    def _assert(self, form: Form) -> None:
        if len(form.parts) != 2:
            self.fail(form.at, "an assert holds one expression", "use (assert (and ...)) for more")
        clauses = self._clauses(form.parts[1])
        if len(clauses) == 1:
            self.common += clauses[0]
        else:
            self.choices.append(clauses)

    def _clauses(self, part: Atom | Form) -> _Clauses:
        """The disjunctive normal form of an expression."""
        if isinstance(part, Atom):
            self.fail(part.at, f"{shorten(part.text)} is no constraint", "write (<= X_0 1.0)")
        if part.head in ("<=", ">="):
            return [[self._comparison(part)]]
        if part.head == "=":
            both = (Form((Atom(each, part.at), *part.parts[1:]), part.at) for each in ("<=", ">="))
            return [[self._comparison(each) for each in both]]
        if part.head in ("or", "and") and len(part.parts) == 1:
            self.fail(part.at, f"{part.head} joins nothing", "give it constraints")
        if part.head == "or":
            return [clause for each in part.parts[1:] for clause in self._clauses(each)]
        if part.head == "and":
            result: _Clauses = [[]]
            for each in part.parts[1:]:
                result = self._product(result, self._clauses(each), each.at)
            return result
        return self.fail(
            part.at, f"{shorten(part.head)} is not supported", "use and, or, <=, >= and ="
        )

    def _product(self, first: _Clauses, second: _Clauses, at: int) -> _Clauses:
        """All pairs of conjunctions; in place where the second has only one."""
        if len(second) == 1:
            for clause in first:
                clause.extend(second[0])
            return first
        if len(first) * len(second) > _MOST_CASES:
            remedy = f"split the file: at most {_MOST_CASES} conjunctions"
            self.fail(at, "the alternatives multiply to too many", remedy)
        return [[*one, *other] for one in first for other in second]

    def _comparison(self, form: Form) -> _Constraint:
        if len(form.parts) != 3:
            self.fail(form.at, f"{form.head} compares two terms", "write (<= X_0 1.0)")
        small, large = form.parts[1:] if form.head == "<=" else form.parts[:0:-1]
        terms = _sum([(Fraction(1), self._term(small)), (Fraction(-1), self._term(large))])
        limit = -terms.pop("", Fraction(0))
        return _Constraint(terms, limit, form.at)

    def _term(self, part: Atom | Form) -> Terms:
        """Coefficients by variable; the constant under the empty name."""
        if isinstance(part, Atom):
            return self._variable(part) if part.text[:1].isalpha() else {"": self._number(part)}
        terms = [self._term(each) for each in part.parts[1:]]
        if part.head in ("+", "-") and terms:
            signs = [1] * len(terms) if part.head == "+" else [1, *[-1] * (len(terms) - 1)]
            signs = [-1] if part.head == "-" and len(terms) == 1 else signs
            return _sum((Fraction(s), term) for s, term in zip(signs, terms, strict=True))
        if part.head == "*" and terms:
            factors = [term.get("", Fraction(0)) for term in terms if not _variables(term)]
            others = [term for term in terms if _variables(term)] or [{"": Fraction(1)}]
            if len(others) == 1:
                return _sum([(_product(factors), others[0])])
        if part.head == "/" and len(terms) == 2 and not _variables(terms[1]) and terms[1].get(""):
            return _sum([(1 / terms[1][""], terms[0])])
        return self.fail(
            part.at, f"{shorten(part.head)} makes no linear term", "use + - * with numbers"
        )

    def _variable(self, atom: Atom) -> Terms:
        if atom.text not in self.declared:
            self.fail(atom.at, f"{shorten(atom.text)} is not declared", "declare it first")
        return {atom.text: Fraction(1)}

    def _number(self, atom: Atom) -> Fraction:
        fits = len(atom.text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(atom.text)
        if not (fits and isfinite(float(atom.text))):
            self.fail(atom.at, f"{shorten(atom.text)} is no number", "write it like -1.5e-3")
        return Fraction(atom.text)

    def _count(self, kind: str) -> int:
        """How many variables of a kind there are; their numbers must have no gaps."""
        count = sum(name.startswith(kind) for name in self.declared)
        for i in range(count):
            if f"{kind}_{i}" not in self.declared:
                self.fail(0, f"{kind}_{i} is not declared", f"number {kind} from 0 without gaps")
        if not count:
            self.fail(0, f"no variable {kind}_0 is declared", "declare inputs X and outputs Y")
        return count

    def _narrowed(self, draft: "_Draft", constraints: Iterable[_Constraint]) -> "_Draft | None":
        """The draft with more constraints; None where a constraint without variables fails."""
        draft = _Draft(list(draft[0]), list(draft[1]), list(draft[2]), list(draft[3]))
        for terms, limit, at in constraints:
            inputs = [name for name in terms if name.startswith("X")]
            if not terms and limit < 0:
                return None
            if len(inputs) == len(terms) == 1:
                bound = self._float(limit / terms[inputs[0]], at)
                draft.bound(int(inputs[0][2:]), bound, terms[inputs[0]] > 0)
            elif inputs:
                self.fail(at, "relates an input to another variable", "bound inputs by numbers")
            elif terms:
                row = {int(name[2:]): self._float(value, at) for name, value in terms.items()}
                draft.rows.append(row)
                draft.limits.append(self._float(limit, at))
        return None if draft.empty else draft

    def _float(self, value: Fraction, at: int) -> float:
        try:
            return float(value)
        except OverflowError:
            self.fail(at, "a number is too large", "use numbers of double precision")

    def _case(self, draft: "_Draft", outputs: int) -> Case:
        for kind, ends in (("lower", draft.lower), ("upper", draft.upper)):
            for i, end in enumerate(ends):
                if not isfinite(end):
                    where = self.declared[f"X_{i}"]
                    self.fail(where, f"X_{i} has no {kind} bound in some case", "bound all inputs")
        if not draft.rows:
            self.fail(len(self.document.text), "some case asserts nothing of the outputs", "add it")
        rows = torch.zeros(len(draft.rows), outputs, dtype=torch.float64)
        for place, row in enumerate(draft.rows):
            rows[place, list(row)] = torch.tensor(list(row.values()), dtype=torch.float64)
        lower, upper, limits = (
            torch.tensor(each, dtype=torch.float64)
            for each in (draft.lower, draft.upper, draft.limits)
        )
        return Case(lower, upper, rows, limits)


class _Draft(NamedTuple):
    """A case in the making."""

    lower: list[float]
    upper: list[float]
    rows: list[dict[int, float]]
    limits: list[float]

    def bound(self, place: int, value: float, above: bool) -> None:
        """Takes a bound of one input."""
        if above:
            self.upper[place] = min(self.upper[place], value)
        else:
            self.lower[place] = max(self.lower[place], value)

    @property
    def empty(self) -> bool:
        """Whether no input is in the box."""
        return any(low > high for low, high in zip(self.lower, self.upper, strict=True))


def _variables(terms: Terms) -> bool:
    return any(terms)


def _sum(parts: Iterable[tuple[Fraction, Terms]]) -> Terms:
    """The weighted sum of terms, without those that cancel."""
    total: Terms = {}
    for factor, terms in parts:
        for name, value in terms.items():
            total[name] = total.get(name, Fraction(0)) + factor * value
    return {name: value for name, value in total.items() if value}


def _product(factors: Sequence[Fraction]) -> Fraction:
    result = Fraction(1)
    for factor in factors:
        result *= factor
    return result
