import subprocess
import sys

import pytest

from holdfast.core.errors import InputError
from holdfast.training.library import find_recipe, list_recipes, overridden, read_recipe


def test_recipes_are_listed_without_torch():
    code = (
        "import sys; from holdfast.training import list_recipes; print(len(list_recipes()));"
        " assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(list_recipes()) >= 10


def test_every_recipe_has_a_summary_of_one_line():
    for name, summary in list_recipes().items():
        assert 10 < len(summary) < 100, name
        assert "\n" not in summary


def test_names_and_paths_are_found(tmp_path):
    assert find_recipe("digits-pgd").name == "digits-pgd.toml"
    own = tmp_path / "own.toml"
    own.write_text('threat = "linf:0.1"\n')
    assert find_recipe(own) == own
    assert read_recipe(own) == {"threat": "linf:0.1"}


def test_what_is_not_there_names_the_nearest(tmp_path):
    with pytest.raises(InputError, match="did you mean 'digits-pgd'"):
        find_recipe("digits-pdg")
    with pytest.raises(InputError, match="is not there"):
        find_recipe(tmp_path / "none.toml")


def test_broken_toml_says_where(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("seed = 1\nthreat = \n")
    with pytest.raises(InputError, match="line 2") as caught:
        read_recipe(path)
    assert "\n" not in str(caught.value)


def test_overrides_are_typed_and_leave_the_original_alone():
    values = {"objective": "pgd-at", "training": {"epochs": 3}}
    texts = ["training.epochs=15", "threat=linf:8/255", "data.augment=['flip']", "a.b.c=1e-3"]
    found = overridden(values, texts)
    assert found == {
        "objective": "pgd-at",
        "training": {"epochs": 15},
        "threat": "linf:8/255",
        "data": {"augment": ["flip"]},
        "a": {"b": {"c": 1e-3}},
    }
    assert values == {"objective": "pgd-at", "training": {"epochs": 3}}
    named = overridden(values, {"objective.attack_mode": "eval"})
    assert named["objective"] == {"kind": "pgd-at", "attack_mode": "eval"}


@pytest.mark.parametrize("text", ["training.epochs", "=3"])
def test_an_override_that_is_no_assignment_is_refused(text):
    with pytest.raises(InputError, match="is no assignment"):
        overridden({}, [text])


def test_an_override_below_a_number_is_refused():
    with pytest.raises(InputError, match="no table"):
        overridden({"seed": 3}, ["seed.low=1"])
