import pytest
import torch

from holdfast.attacks import PGD
from holdfast.threats import Linf
from holdfast.training import train
from holdfast.training.distributed import World
from holdfast.training.recipe import SelectionSpec
from holdfast.training.selection import Selector, Validation, Validator, attack_named
from training.tiny import examples, network, recipe, weights

ALONE = World(0, 1, torch.device("cpu"))


def course(robust, **options):
    """What a selector says of a curve of robust accuracies."""
    selector = Selector(SelectionSpec(**options))
    improved = [selector.update(i + 1, Validation(0.9, r)) for i, r in enumerate(robust)]
    return selector, improved


def test_the_best_is_the_earliest_of_the_highest():
    selector, improved = course([0.3, 0.4, 0.4, 0.35])
    assert improved == [True, True, False, False]
    assert (selector.best.epoch, selector.best.robust, selector.best.stale) == (2, 0.4, 2)


def test_clean_accuracy_decides_between_equals_and_alone():
    selector = Selector(SelectionSpec())
    assert selector.update(1, Validation(0.8, 0.4))
    assert selector.update(2, Validation(0.9, 0.4))
    assert not selector.update(3, Validation(0.99, 0.3))
    clean = Selector(SelectionSpec(attack="none"))
    assert [clean.update(i, Validation(c, None)) for i, c in enumerate((0.5, 0.4), 1)] == [
        True,
        False,
    ]


def test_even_a_first_validation_of_zero_is_a_best():
    selector, improved = course([0.0])
    assert improved == [True]
    assert selector.best.epoch == 1


@pytest.mark.parametrize(("patience", "stops"), [(None, []), (1, [4, 6, 7]), (2, [7])])
def test_early_stopping_on_a_synthetic_curve(patience, stops):
    selector = Selector(SelectionSpec(patience=patience))
    said = []
    for epoch, robust in enumerate((0.1, 0.2, 0.3, 0.25, 0.35, 0.3, 0.3), 1):
        selector.update(epoch, Validation(0.9, robust))
        said += [epoch] if selector.stop else []
    assert said == stops


def test_a_collapse_is_noticed_and_a_small_fall_is_not():
    selector, _ = course([0.40, 0.42, 0.10])
    assert selector.best.warnings == [
        "catastrophic overfitting: robust validation accuracy fell from 0.420 to 0.100 at epoch 3, "
        "the clean one is 0.900"
    ]
    assert selector.best.epoch == 2
    assert course([0.4, 0.35, 0.3, 0.2])[0].best.warnings == []


@pytest.mark.parametrize(("clean", "noticed"), [(0.75, 1), (0.65, 0), (0.1, 0)])
def test_a_fall_of_both_accuracies_is_no_catastrophic_overfitting(clean, noticed):
    selector = Selector(SelectionSpec())
    selector.update(1, Validation(0.9, 0.4))
    resumed = Selector(SelectionSpec())
    resumed.restore(selector.state())
    for each in (selector, resumed):
        each.update(2, Validation(clean, 0.1))
        assert len(each.best.warnings) == noticed
    old = {key: value for key, value in selector.state().items() if key != "previous_clean"}
    resumed.restore(old)


def test_robust_accuracy_as_high_as_clean_is_suspicious():
    selector = Selector(SelectionSpec())
    assert "fooled" in selector.suspicion(Validation(0.9, 0.899), 0.1)
    assert selector.suspicion(Validation(0.9, 0.85), 0.1) is None
    assert selector.suspicion(Validation(0.11, 0.11), 0.1) is None
    assert selector.suspicion(Validation(0.9, None), 0.1) is None


def test_its_state_goes_on():
    first, _ = course([0.3, 0.5, 0.1], patience=2)
    second = Selector(first.spec)
    second.restore(first.state())
    for each in (first, second):
        each.update(4, Validation(0.9, 0.2))
    assert first.best == second.best
    assert first.stop
    assert second.stop


def test_attacks_are_named():
    assert attack_named(SelectionSpec(attack="none")) is None
    assert attack_named(SelectionSpec(attack="pgd-3-2")) == PGD(steps=3, restarts=2)


def test_validation_is_that_of_the_accuracy_and_leaves_the_network_alone():
    net, data = network(norm=True, dropout=0.5), examples(23)
    net.train()
    net[1].eval()
    before, modes = weights(net), [module.training for module in net.modules()]
    spec = SelectionSpec(attack="pgd-5-1", examples=20)
    found = Validator(data, spec, Linf(0.05), seed=1, world=ALONE).measure(net)
    assert torch.equal(weights(net), before)
    assert [module.training for module in net.modules()] == modes
    net.eval()
    x, y = data.inputs(slice(20)), data.labels[:20]
    assert found.clean == (net(x).argmax(1) == y).double().mean()
    assert found.robust <= found.clean
    tiny = Validator(data, spec, Linf(0.0), seed=1, world=ALONE).measure(net)
    assert tiny.robust == tiny.clean
    again = Validator(data, spec, Linf(0.05), seed=1, world=ALONE).measure(net)
    assert again == found


def blobs(count, seed):
    """Two Gaussians of 60 features, each of width 0.1 and at 0.025 from 0."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    noise = 0.1 * torch.randn(count, 60, generator=generator)
    return (0.025 * (2 * y - 1)[:, None] + noise).clamp(-1, 1), y


def test_a_choice_on_held_out_data_recovers_what_longer_training_loses():
    """Robust overfitting of a linear model: 12 of 60 examples have the other label and are fitted
    late. Its robust accuracy is exact."""
    data, held, (x, y), eps = blobs(60, 0), blobs(400, 1), blobs(4000, 2), 0.005
    data[1][:12] = 1 - data[1][:12]
    steps = {"kind": "pgd", "steps": 1, "restarts": 1, "step_size": "eps", "start": "clean"}
    optimizer = {"kind": "sgd", "momentum": 0.0}
    schedule = {"kind": "constant", "value": 2.0}
    training = {"epochs": 48, "batch_size": 60, "schedule": schedule, "optimizer": optimizer}
    found, fitted = {}, {}
    for choose in ("best", "last"):
        net = torch.nn.Linear(60, 2)
        torch.nn.init.zeros_(net.weight)
        selection = {"attack": "fgsm", "examples": 400, "choose": choose, "every": 8}
        what = {"data": {"validation": 0}, "selection": selection, "training": training}
        made = recipe({"kind": "pgd-at", "attack": steps}, threat=f"linf:{eps},box=-1:1", **what)
        result = train(made, data=data, validation=held, model=net, device="cpu")
        w = net.weight.detach().diff(dim=0)[0]
        margin = (net(x).detach().diff(dim=1)[:, 0]) * (2 * y - 1)
        found[choose] = float((margin > eps * w.abs().sum()).double().mean())
        fitted[choose] = result.history[result.chosen_epoch - 1]["accuracy"]
    assert found["best"] > found["last"] + 0.05
    assert fitted["best"] < fitted["last"]
    assert result.best["robust"] > result.final["robust"] + 0.05
