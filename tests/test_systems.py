"""docs/systems.csv says what works: every object exists, and so does the test that checks it."""

import ast
import csv
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
with (ROOT / "docs/systems.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def names_in(path):
    """Names of the test functions of a file, those in classes included."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_table_is_whole():
    assert len(ROWS) > 50
    assert list(ROWS[0]) == ["thesis", "section", "name", "object", "test"]
    keys = [(row["thesis"], row["section"], row["name"]) for row in ROWS]
    assert len(set(keys)) == len(keys)
    theses = {"Wong 2020", "Rice 2023", "Liu 2022", "Zhang 2019", "Andriushchenko 2024"}
    assert {row["thesis"] for row in ROWS} == theses


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['thesis']}: {row['name']}")
def test_object_and_test_exist(row):
    module, _, name = row["object"].partition(":")
    found = importlib.import_module(module)
    if name:
        found = getattr(found, name)
    assert found.__doc__
    path, _, test = row["test"].partition("::")
    assert test in names_in(path), row["test"]
