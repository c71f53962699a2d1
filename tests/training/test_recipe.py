import pytest

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.recipes import build, to_dict
from holdfast.training import list_recipes
from holdfast.training.objectives import FGSMRS, IBP, PGDAT
from holdfast.training.recipe import EvaluationSpec, Recipe, load_recipe, recipe_dict


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_builds_and_reads_back_as_resolved(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert build(Recipe, recipe_dict(recipe)) == recipe
    hash(recipe)


def test_the_published_settings_stand_in_the_recipes():
    fast = load_recipe("mnist-fgsm-rs")
    assert (fast.threat, fast.training.epochs, fast.training.batch_size) == ("linf:0.3", 15, 100)
    assert isinstance(fast.objective, FGSMRS)
    assert [fast.training.schedule(at) for at in (0.0, 0.2, 0.4, 1.0)] == [0.0, 2.5e-3, 5e-3, 0.0]
    slow = load_recipe("mnist-pgd")
    assert isinstance(slow.objective, PGDAT)
    assert slow.objective.attack == PGD(steps=40, restarts=1, step_size=0.01)
    assert (slow.training.epochs, slow.training.batch_size) == (100, 50)
    cifar = load_recipe("cifar10-pgd")
    rates = [cifar.training.schedule(epoch / 200) for epoch in (0, 99.99, 100, 150)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.001])
    assert isinstance(load_recipe("mnist-interval").objective, IBP)


def test_overrides_reach_every_depth():
    changed = ["training.epochs=15", "objective.start=previous", "threat=linf:8/255"]
    recipe = load_recipe("mnist-fgsm-rs", changed)
    assert recipe.training.epochs == 15
    assert recipe.objective == FGSMRS(start="previous", step_size="1.25*eps")
    assert recipe.threat == "linf:8/255"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.epoch=3", "training.epoch.*did you mean 'epochs'"),
        ("training.epochs=0", "training.epochs=0: is not >= 1"),
        ("training.precision=fp8", "training.precision"),
        ("objective.kind=pgd", "objective.kind.*did you mean 'pgd-at'"),
        ("threat=linf", "has no radius"),
        ("selection.attack=pgdd-3", "attack='pgdd-3'"),
        ("data.validation=1.5", "validation=1.5: is neither"),
        ("training.optimizer.momentun=0.9", "momentun"),
    ],
)
def test_a_wrong_key_or_value_is_named(override, message):
    with pytest.raises(InputError, match=message):
        load_recipe("digits-pgd", [override])


def test_a_recipe_without_threat_or_objective_is_refused(tmp_path):
    path = tmp_path / "bare.toml"
    path.write_text('threat = "linf:0.1"\n')
    with pytest.raises(InputError, match="objective=None: is missing"):
        load_recipe(path)


def test_an_evaluation_names_attacks_or_a_protocol():
    assert EvaluationSpec().attacks == ("pgd-50-10",)
    named = EvaluationSpec(protocol="standard")
    assert (named.attacks, named.protocol) == ((), "standard")
    assert build(EvaluationSpec, to_dict(named)) == named
    assert build(EvaluationSpec, to_dict(EvaluationSpec())) == EvaluationSpec()
    with pytest.raises(InputError, match=r"protocol='fast': is given beside attacks"):
        EvaluationSpec(attacks=("fgsm",), protocol="fast")
