from operator import attrgetter

import pytest

from holdfast.attacks import PGD
from holdfast.attacks.attack import parse_step
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


def rates_of(recipe, *epochs):
    """The learning rates at these epochs."""
    return [recipe.training.schedule(each / recipe.training.epochs) for each in epochs]


PLATEAUS = {99.9: 0.1, 100: 0.01, 149.9: 0.01, 150: 0.001}
TRIANGLE = {0: 0, 7.5: 0.1, 15: 0.2, 22.5: 0.1, 30: 0}
LATE = {23.9: 0.1, 24: 0.01, 28: 0.001}
ALIGN = {0: 0, 12: 0.3, 30: 0}
PUBLISHED = {  # threat, epochs, batch, weight decay, learning rates by epoch, of the objective
    "cifar10-fgsm-rs": ("8/255", 30, 128, 5e-4, TRIANGLE, {"step": "10/255"}),
    "cifar10-fgsm-rs-long": ("8/255", 200, 128, 5e-4, PLATEAUS, {"step": "7/255"}),
    "cifar10-free": ("8/255", 96 // 8, 128, 5e-4, {0: 0, 6: 0.04, 12: 0}, {"replays": 8}),
    "cifar10-pgd": ("8/255", 200, 128, 5e-4, PLATEAUS, {"attack.step_size": "2/255"}),
    "svhn-pgd": ("8/255", 200, 128, 5e-4, {99.9: 0.01, 100: 1e-3}, {"attack.steps": 10}),
    "cifar10-l2-pgd": ("l2:128/255", 200, 128, 5e-4, PLATEAUS, {"attack.step_size": "15/255"}),
    "cifar10-grad-align": ("8/255", 30, 128, 5e-4, ALIGN, {"backprop_through": "second"}),
    "svhn-grad-align": ("8/255", 15, 128, 5e-4, {0: 0, 6: 0.05, 15: 0}, {"weight": "svhn"}),
    "imagenet-fgsm-rs": ("4/255", 15, 128, 1e-4, {}, {"step": "1.25*eps"}),
    "imagenet-free": ("4/255", 92 // 4, 256, 1e-4, {}, {"replays": 4, "step_size": "eps"}),
    "imagenet-grad-align": ("2/255", 15, 512, 1e-4, {}, {"weight": 0.01}),
    "cifar10-trades": ("0.03", 100, 100, 2e-4, {0: 0.1}, {"steps": 10, "step_size": 0.007}),
    "cifar10-ar": ("0.03", 100, 100, 2e-4, {0: 0.1}, {"attack.step_size": 0.007}),
    "cifar10-atas": ("8/255", 30, 128, 5e-4, LATE, {"damping": 0.01, "beta": 0.5, "warmup": 5}),
    "imagenet-atas": ("2/255", 90, 128, 1e-4, {50: 0.01, 75: 1e-3}, {"damping": 0.1, "reset": 10}),
    "cifar10-atta": ("8/255", 30, 128, 5e-4, LATE, {"step_size": "4/255", "reset": 10}),
    "cifar10-adaptive-targets": (
        "8/255",
        38,
        128,
        5e-4,
        {29.9: 0.1, 30: 0.01, 36: 1e-3},
        {"step_size": "4/255", "rho": 0.9, "beta": 0.1, "warmup": 5, "reset": None},
    ),
    "cifar10-iat": ("8/255", 200, 128, 5e-4, {}, {"increment": 0.00745, "rate": 0.1, "warmup": 5}),
    "cifar10-sat": ("8/255", 200, 128, 5e-4, {}, {"momentum": 0.9, "warmup": 90, "weight": 6.0}),
    "mnist-budget": ("0.4", 100, 128, 0.0, {0: 1e-4}, {"attack.steps": 50}),
    "cifar10-pas": ("8/255", 200, 128, 1e-3, {0: 0.1, 76: 0.001, 100.1: 0.1, 150.1: 0.1}, {}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_constants_of_the_theses_stand_in_their_recipes(name):
    recipe, (radius, epochs, batch, decay, rates, wanted) = load_recipe(name), PUBLISHED[name]
    training = recipe.training
    assert recipe.threat == (radius if ":" in radius else f"linf:{radius}")
    assert (training.epochs, training.batch_size) == (epochs, batch)
    optimizer = training.optimizer
    assert optimizer.weight_decay == decay
    assert getattr(optimizer, "momentum", 0.9) == 0.9
    assert rates_of(recipe, *rates) == pytest.approx(list(rates.values()))
    for path, value in wanted.items():
        found = attrgetter(path)(recipe.objective)
        assert found == (parse_step(value, 1)[0] if isinstance(found, float) else value)


def test_points_of_early_stopping_are_the_published_ones():
    """256 training examples under PGD-10 with steps of eps/4, every 200 steps."""
    for name in ("cifar10-grad-align", "svhn-grad-align"):
        selection = load_recipe(name).selection
        assert (selection.on, selection.every_steps, selection.examples) == ("train", 200, 256)
        assert selection.attack == "pgd-10-1-eps/4"


def test_radii_and_phases_of_the_theses_stand_in_their_recipes():
    warm = load_recipe("svhn-grad-align").training.radius_schedule
    assert [warm(t / 15) for t in (0, 1, 2.5, 5, 15)] == pytest.approx([0, 0.2, 0.5, 1, 1])
    grown = load_recipe("mnist-budget")
    assert parse_step(grown.objective.attack.step_size, 50) == (pytest.approx(0.01 / 0.4), True)
    radius = grown.training.radius_schedule  # held over every epoch
    assert [0.4 * radius((e + 0.5) / 100) for e in (0, 25)] == pytest.approx([0, 0.0879], abs=5e-5)
    for name, batches in (("fgsm-rs", (512, 224, 128)), ("grad-align", (512, 180, 100))):
        phases = load_recipe(f"imagenet-{name}").training.phases
        assert [each.epochs for each in phases] == [6, 6, 3]
        assert tuple(each.batch_size for each in phases) == batches
        assert [each.resize for each in phases[:2]] == [160, 352]
        assert [each.crop for each in phases] == [128, 224, 288]
        knots, begun = [], 0
        for each in phases:
            knots += [(begun + epoch, rate) for epoch, rate in each.rates]
            begun += each.epochs
        expected = [(0, 0), (1, 0.4), (6, 0.04), (6, 0.04), (12, 0.004), (12, 0.004), (15, 4e-4)]
        assert [tuple(each) for each in knots] == expected


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
