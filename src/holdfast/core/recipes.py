"""The strict constructor: dataclasses of hyperparameters built from plain mappings, and back.

Attacks, objectives, schedules and whole recipes are frozen, keyword-only dataclasses made with
`@hyperparameters`. Their annotations are the schema: an unknown key names its nearest neighbour, a
wrong type or range names the key, the value and the remedy. Numbers may be written as `8/255`. The
same check runs when Python code calls the constructor. Imports no torch.
"""

import hashlib
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from holdfast.core.catalogue import Catalogue
from holdfast.core.errors import InputError, unknown_name
from holdfast.core.numbers import number

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """The numbers that a field admits, for `Annotated[float, Range(gt=0)]`."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        signs = ((">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)


@dataclass(frozen=True)
class From:
    """The catalogue that a field's object is named in, for `Annotated[Attack, From(ATTACKS)]`.

    In a recipe such a field is a table `{kind = "pgd", steps = 10}` or the bare name `"pgd"`.
    """

    catalogue: Catalogue


Count = Annotated[int, Range(ge=1)]
Positive = Annotated[float, Range(gt=0)]
NonNegative = Annotated[float, Range(ge=0)]
Fraction = Annotated[float, Range(ge=0, le=1)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def hyperparameters(cls: type[T]) -> type[T]:
    """Makes a class a frozen, keyword-only dataclass whose fields are checked and normalised when
    it is built."""
    finish = cls.__dict__.get("__post_init__")

    def __post_init__(self: Any) -> None:
        hints = _hints(type(self))
        for name, hint in hints.items():
            object.__setattr__(self, name, convert(getattr(self, name), hint, name))
        if finish is not None:
            finish(self)

    cls.__post_init__ = __post_init__  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(cls)


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """The dataclass `cls` from a mapping, such as a table of a TOML recipe.

    Args:
        where: the path of the mapping in the recipe (`training.objective`), for messages.

    Raises:
        InputError: an unknown or missing key, a wrong type, a value out of range.
    """
    if not isinstance(values, Mapping):
        raise InputError(where or cls.__name__, values, "is not a table", "give keys and values")
    hints = _hints(cls)
    for key in values:
        if key not in hints:
            raise unknown_name(_join(where, key), str(key), hints)
    arguments = {
        key: convert(value, hints[key], _join(where, key)) for key, value in values.items()
    }
    for field in fields(cls):  # type: ignore[arg-type]
        if (
            field.default is MISSING
            and field.default_factory is MISSING
            and field.name not in arguments
        ):
            raise InputError(
                _join(where, field.name), None, "is missing", f"{cls.__name__} needs it"
            )
    try:
        return cls(**arguments)
    except InputError as error:
        if not where:
            raise
        raise InputError(
            _join(where, error.argument), error.value, error.problem, error.remedy
        ) from None


def convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotation asks for it, or an InputError; no silent change but int -> float
    and `8/255`."""
    if get_origin(hint) is Annotated:
        return _annotated(value, hint, where)
    if hint is Any:
        return value
    if get_origin(hint) in (Union, types.UnionType):
        return _union(value, get_args(hint), where)
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise unknown_name(
            where, value if isinstance(value, str) else repr(value), map(str, get_args(hint))
        )
    if get_origin(hint) is tuple:
        return _tuple(value, get_args(hint), where)
    if get_origin(hint) is dict:
        return dict(value)
    if hint is float:
        return number(value, where)
    if is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)  # type: ignore[arg-type]
    expected = get_origin(hint) or hint
    if expected is None or expected is type(None):
        if value is None:
            return None
    elif isinstance(expected, type) and not getattr(expected, "_is_protocol", False):
        if isinstance(value, expected) and not (expected is int and isinstance(value, bool)):
            return value
    else:
        return value
    raise InputError(where, value, f"is not {_name(hint)}", f"give {_name(hint)}")


def to_dict(instance: Any, catalogues: Sequence[Catalogue] = ()) -> dict[str, Any]:
    """The mapping from which `build` makes an equal dataclass; objects of a catalogue carry their
    `kind`.

    TOML has no null: a field that is None is left out, or `"none"` where its default is another.
    """
    hints = _hints(type(instance))
    defaults = {field.name: field.default for field in fields(instance)}
    result: dict[str, Any] = {}
    for name, hint in hints.items():
        value = getattr(instance, name)
        if value is not None:
            result[name] = _plain(value, _catalogue_of(hint))
        elif defaults[name] is not None:
            result[name] = "none"
    return result


def content_hash(value: Any) -> str:
    """A hash of plain data (mappings, lists, numbers, texts) that does not depend on the order of
    keys: 16 digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def kind_of(instance: Any, catalogue: Catalogue) -> str:
    """The name under which the class of `instance` is registered."""
    target = f"{type(instance).__module__}:{type(instance).__qualname__}"
    for entry in catalogue.values():
        if entry.target == target:
            return entry.name
    raise InputError(
        catalogue.kind,
        type(instance).__name__,
        "is not registered",
        "use a registered one in recipes",
    )


def _annotated(value: Any, hint: Any, where: str) -> Any:
    inner, *marks = get_args(hint)
    for mark in marks:
        if isinstance(mark, From):
            return _from_catalogue(value, mark.catalogue, inner, where)
    result = convert(value, inner, where)
    for mark in marks:
        if isinstance(mark, Range) and result not in mark:
            raise InputError(where, value, f"is not {mark}", f"give a value {mark}")
    return result


def _from_catalogue(value: Any, catalogue: Catalogue, hint: Any, where: str) -> Any:
    if isinstance(value, str):
        value = {"kind": value}
    if not isinstance(value, Mapping):
        if getattr(hint, "_is_runtime_protocol", False) and not isinstance(value, hint):
            known = f"known are: {', '.join(catalogue)}"
            raise InputError(where, value, f"is no {catalogue.kind}", f"give a name; {known}")
        return value
    rest = dict(value)
    kind = rest.pop("kind", None)
    if kind is None:
        raise InputError(
            _join(where, "kind"), None, "is missing", f"known are: {', '.join(catalogue)}"
        )
    if kind not in catalogue:
        raise unknown_name(_join(where, "kind"), str(kind), catalogue)
    return build(catalogue[kind].load(), rest, where)


def _union(value: Any, options: tuple[Any, ...], where: str) -> Any:
    if (value is None or value == "none") and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    for (
        option
    ) in options:  # an exact type wins over a conversion, so that `int | float` keeps integers
        if isinstance(option, type) and type(value) is option:
            return value
    failures = []
    for option in options:
        try:
            return convert(value, option, where)
        except InputError as error:
            failures.append(error)
    raise failures[0]


def _tuple(value: Any, items: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InputError(where, value, "is not a list", "give a list")
    if len(items) == 2 and items[1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise InputError(where, value, f"has {len(value)} items", f"give {len(items)}")
    return tuple(
        convert(each, hint, f"{where}[{i}]")
        for i, (each, hint) in enumerate(zip(value, items, strict=True))
    )


def _plain(value: Any, catalogue: Catalogue | None = None) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": kind_of(value, catalogue)} if catalogue is not None else {}
        return kind | to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, catalogue) for each in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _catalogue_of(hint: Any) -> Catalogue | None:
    if get_origin(hint) is Annotated:
        for mark in get_args(hint)[1:]:
            if isinstance(mark, From):
                return mark.catalogue
    for inner in get_args(hint):
        found = _catalogue_of(inner) if not isinstance(inner, From | Range) else None
        if found is not None:
            return found
    return None


@cache
def _cached_hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls) if field.init}


def _hints(cls: Any) -> dict[str, Any]:
    """The annotations of a dataclass's fields, read once."""
    return _cached_hints(cls)


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _name(hint: Any) -> str:
    names = {int: "a whole number", bool: "true or false", str: "a text", type(None): "nothing"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
