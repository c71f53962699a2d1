import sys

import pytest

from holdfast.core.errors import InputError
from holdfast.core.numbers import number
from holdfast.runs import recipe_files

RECIPE = {
    "seed": 0,
    "threat": "linf:8/255",
    "training": {"rate": 1e-3, "milestones": [5, 10], "swa": None, "objective": {"kind": "pgd"}},
    "note": 'a "quoted" text, ü',
}
WITHOUT_NONE = RECIPE | {
    "training": {"rate": 1e-3, "milestones": [5, 10], "objective": {"kind": "pgd"}}
}


def test_toml_round_trip_leaves_out_none(tmp_path):
    recipe_files.write(tmp_path, RECIPE)
    file = recipe_files.find(tmp_path)
    assert file.name == "recipe.toml"
    assert recipe_files.read(file) == WITHOUT_NONE


def test_without_tomli_w_the_recipe_is_json_and_replaces_the_other(tmp_path, monkeypatch):
    recipe_files.write(tmp_path, {"old": 1})
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    recipe_files.write(tmp_path, RECIPE | {"norm": float("inf")})
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.json"]
    read = recipe_files.read(recipe_files.find(tmp_path))
    assert number(read.pop("norm")) == float("inf")
    assert read == WITHOUT_NONE
    monkeypatch.undo()
    recipe_files.write(tmp_path, RECIPE)
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.toml"]


def test_values_without_a_form_are_refused_and_leave_the_file(tmp_path, monkeypatch):
    recipe_files.write(tmp_path, {"seed": 1})
    with pytest.raises(InputError, match=r"recipe=.*TOML"):
        recipe_files.write(tmp_path, {"seed": object()})
    assert recipe_files.read(tmp_path / "recipe.toml") == {"seed": 1}
    monkeypatch.setitem(sys.modules, "tomli_w", None)
    with pytest.raises(InputError, match=r"recipe=.*JSON"):
        recipe_files.write(tmp_path, {"seed": object()})


@pytest.mark.parametrize("name", ["recipe.toml", "recipe.json"])
def test_a_damaged_recipe_names_the_file(tmp_path, name):
    (tmp_path / name).write_text("a = = {")
    with pytest.raises(InputError, match=name):
        recipe_files.read(recipe_files.find(tmp_path))
