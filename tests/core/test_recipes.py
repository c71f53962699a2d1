from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Any, Literal, Protocol

import pytest

from holdfast.core.catalogue import Catalogue, Entry
from holdfast.core.errors import InputError
from holdfast.core.recipes import (
    Count,
    Fraction,
    From,
    NonNegative,
    Positive,
    Range,
    build,
    content_hash,
    convert,
    hyperparameters,
    kind_of,
    to_dict,
)


class Shape(Protocol):
    def area(self) -> float: ...


SHAPES = Catalogue(
    "shape",
    Entry(name="square", target=f"{__name__}:Square", summary="four equal sides"),
    Entry(name="pair", target=f"{__name__}:Pair", summary="two shapes"),
)


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Lets the catalogue above find the classes of this file under its own name."""
    import sys

    module = type(sys)(__name__)
    module.Square, module.Pair = Square, Pair
    monkeypatch.setitem(sys.modules, __name__, module)


@hyperparameters
class Square:
    side: Positive = 1.0

    def area(self) -> float:
        return self.side**2


@hyperparameters
class Pair:
    first: Annotated[Shape, From(SHAPES)]
    second: Annotated[Shape | None, From(SHAPES)] = None

    def area(self) -> float:
        return self.first.area() + (self.second.area() if self.second else 0)


@hyperparameters
class Inner:
    rate: float = 0.1
    names: tuple[str, ...] = ()


@hyperparameters
class Settings:
    steps: Count
    radius: NonNegative = 0.0
    share: Fraction = 0.5
    kind: Literal["thesis", "released"] = "thesis"
    until: int | float | None = None
    flag: bool = False
    title: str = ""
    corner: tuple[float, int] = (0.0, 0)
    inner: Inner = Inner()
    table: dict[str, Any] = None  # type: ignore[assignment]
    shape: Annotated[Shape, From(SHAPES)] = Square()
    shapes: tuple[Annotated[Shape, From(SHAPES)], ...] = ()

    def __post_init__(self) -> None:
        if self.radius > self.steps:
            raise InputError("radius", self.radius, "is above steps", "give a smaller one")


BASE: dict[str, Any] = {"steps": 7, "table": {}}


def made(**values: Any) -> Settings:
    return build(Settings, BASE | values)


def test_a_class_is_frozen_keyword_only_compared_and_hashed_by_value():
    assert Square(side=2) == Square(side=2.0) != Square(side=3)
    assert hash(Square(side=2)) == hash(Square(side=2.0))
    assert repr(Square(side=2)) == "Square(side=2.0)"
    with pytest.raises(FrozenInstanceError):
        Square().side = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        Square(2)  # type: ignore[misc]


def test_replace_checks_as_well():
    assert replace(Square(), side="1/4").side == 0.25
    with pytest.raises(InputError):
        replace(Square(), side=-1)


@pytest.mark.parametrize(
    ("key", "given", "stored"),
    [
        ("radius", "8/255", 8 / 255),
        ("radius", 1, 1.0),
        ("corner", [1, 2], (1.0, 2)),
        ("until", 5, 5),
        ("until", 5.5, 5.5),
        ("until", None, None),
        ("flag", True, True),
        ("kind", "released", "released"),
        ("inner", {"rate": "1/2", "names": ["a", "b"]}, Inner(rate=0.5, names=("a", "b"))),
        ("shape", "square", Square()),
        ("shape", {"kind": "square", "side": 3}, Square(side=3)),
        ("shapes", ["square", {"kind": "square", "side": 2}], (Square(), Square(side=2))),
    ],
)
def test_values_are_taken_as_annotated(key, given, stored):
    value = getattr(made(**{key: given}), key)
    assert value == stored
    assert type(value) is type(stored)


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("steps", 0),
        ("steps", 2.0),
        ("steps", True),
        ("steps", "7"),
        ("radius", -1e-9),
        ("radius", "x"),
        ("share", 1.5),
        ("kind", "relased"),
        ("until", "soon"),
        ("flag", 1),
        ("title", 3),
        ("corner", [1]),
        ("corner", "12"),
        ("inner", 3),
    ],
)
def test_what_does_not_fit_is_refused_by_key_in_tables_and_in_python(key, given):
    with pytest.raises(InputError) as caught:
        made(**{key: given})
    assert caught.value.argument == key
    with pytest.raises(InputError) as caught:
        Settings(**(BASE | {key: given}))
    assert caught.value.argument == key


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'radius'") as caught:
        made(raduis=1)
    assert caught.value.argument == "raduis"


def test_a_wrong_choice_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'released'"):
        made(kind="relased")


def test_a_missing_key_is_named_with_its_path():
    with pytest.raises(InputError, match="is missing") as caught:
        build(Settings, {}, "training.objective")
    assert caught.value.argument == "training.objective.steps"


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"inner": {"rat": 1}}, "recipe.inner.rat"),
        ({"inner": {"names": ["a", 3]}}, "recipe.inner.names[1]"),
        ({"shape": {"kind": "sqare"}}, "recipe.shape.kind"),
        ({"shape": {"side": 3}}, "recipe.shape.kind"),
        ({"shape": {"kind": "square", "side": 0}}, "recipe.shape.side"),
        ({"shapes": ["square", "sqare"]}, "recipe.shapes[1].kind"),
        ({"radius": 8}, "recipe.radius"),
    ],
)
def test_errors_carry_the_path_of_the_key(values, path):
    with pytest.raises(InputError) as caught:
        build(Settings, BASE | values, "recipe")
    assert caught.value.argument == path


def test_objects_may_nest_through_the_catalogue():
    recipe = {"first": "square", "second": {"kind": "pair", "first": {"kind": "square", "side": 2}}}
    assert build(Pair, recipe).area() == 5


def test_a_table_is_wanted_where_something_else_came():
    with pytest.raises(InputError, match="is not a table"):
        build(Settings, [1, 2])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"radius": "1/3", "until": 3, "flag": True, "title": "a", "corner": [1, 2]},
        {"inner": {"rate": 2, "names": ["x"]}, "table": {"a": 1, "b": [1, 2]}},
        {"shape": {"kind": "square", "side": 3}},
        {"shape": {"kind": "pair", "first": "square", "second": {"kind": "square", "side": 9}}},
        {"shapes": ["square", {"kind": "square", "side": 4}]},
    ],
)
def test_a_recipe_survives_the_way_through_a_plain_table(values):
    settings = made(**values)
    table = to_dict(settings)
    assert build(Settings, table) == settings
    assert to_dict(build(Settings, table)) == table
    assert plain(table)


def plain(value: Any) -> bool:
    """Whether TOML could hold the value."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(each) for key, each in value.items())
    if isinstance(value, list):
        return all(plain(each) for each in value)
    return isinstance(value, bool | int | float | str)


def test_kinds_are_found_by_class():
    assert kind_of(Square(side=3), SHAPES) == "square"
    with pytest.raises(InputError, match="is not registered"):
        kind_of(Inner(), SHAPES)


def test_ranges_hold_their_ends_as_they_say():
    assert 0 in Range(ge=0, lt=1)
    assert 1 not in Range(ge=0, lt=1)
    assert 0 not in Range(gt=0, le=1)
    assert 1 in Range(gt=0, le=1)
    assert str(Range(gt=0, le=1)) == "> 0 and <= 1"


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [(3, int | float, 3), (3.0, int | float, 3.0), ("3", int | str, "3"), (None, int | None, None)],
)
def test_an_exact_type_wins_over_a_conversion(value, hint, expected):
    found = convert(value, hint, "x")
    assert found == expected
    assert type(found) is type(expected)


def test_a_content_hash_ignores_the_order_of_keys_and_nothing_else():
    assert content_hash({"a": 1, "b": [1, 2]}) == content_hash({"b": [1, 2], "a": 1})
    different = [{"a": 1}, {"a": 2}, {"b": 1}, {"a": [1, 2]}, {"a": [2, 1]}, {"a": "1"}, {"a": 1.5}]
    assert len({content_hash(value) for value in different}) == len(different)
    assert len(content_hash({})) == 16
    assert content_hash({"eps": 0.5}) == "988fb91d7ae971a9"
