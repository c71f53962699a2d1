import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import Linf
from holdfast.training.objectives.logit_pairing import ALP, CLP, LSQ
from training.objectives.counted import calls_of, differences, gradients, plain, vectors
from training.tiny import examples, network

THREAT = Linf(0.1)


def run(objective, model, data, **more):
    return objective.loss(model, data.inputs(), data.labels, THREAT, progress=0.5, **more)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("count", [6, 7])
def test_pairs_are_drawn_together_and_logits_squeezed(count, squared):
    model, data = network(), examples(count)
    for objective in (CLP, LSQ):
        result = run(objective(weight=0.3, sigma=0.2, squared=squared), model, data)
        logits = model(result.x_adv).detach()
        sizes = []
        for i in range(3) if objective is CLP else range(count):
            row = logits[i] - logits[i + 3] if objective is CLP else logits[i]
            sizes.append(float(row.square().sum()) ** (1.0 if squared else 0.5))
        penalty = sum(sizes) / len(sizes)
        fitted = cross_entropy(logits, data.labels).item()
        assert result.logs["penalty"].item() == pytest.approx(penalty, rel=1e-5)
        assert result.loss.item() == pytest.approx(fitted + 0.3 * penalty, rel=1e-5)
        assert result.logs["loss"] == result.loss
        assert not any(each.requires_grad for each in result.logs.values())
        right = (logits.argmax(1) == data.labels).float().mean()
        assert result.logs["accuracy"] == right


def test_without_weight_and_noise_it_is_ordinary_training():
    model, data = network(), examples(5)
    want = cross_entropy(model(data.inputs()), data.labels)
    for objective in (CLP(weight=0, sigma=0), LSQ(weight=0, sigma=0)):
        result = run(objective, model, data)
        assert torch.equal(result.loss, want)
        assert torch.equal(result.x_adv, data.inputs())


@pytest.mark.parametrize("objective", [CLP(sigma=0.3), LSQ(sigma=0.3)])
def test_the_noise_of_an_example_is_its_own(objective):
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(4, data.index)

    def noisy(rows, keys):
        return objective.loss(model, x[rows], y[rows], THREAT, progress=0.0, keys=keys).x_adv

    whole = noisy(slice(None), keys)
    turned = torch.tensor([5, 2, 6])
    assert torch.equal(noisy(turned, keys[turned]), whole[turned])
    assert torch.equal(noisy(turned, None), noisy(slice(None), None)[turned])
    assert not torch.equal(noisy(slice(None), keys.fold(1)), whole)


def test_the_noise_has_the_scale_asked_for_and_is_not_clipped():
    model, x, y = nn.Linear(3000, 3), torch.zeros(3, 3000), torch.zeros(3, dtype=torch.int64)
    keys = Keys.of(0, range(3))
    found = LSQ(sigma=0.4).loss(model, x, y, THREAT, progress=0.0, keys=keys).x_adv
    # 9,000 normals with fixed keys, five standard errors
    assert found.std().item() == pytest.approx(0.4, rel=5 / 18000**0.5)
    assert (found < 0).any()


def test_equal_logits_and_batches_of_one_have_finite_gradients():
    model = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    x, y = torch.rand(4, 4), torch.tensor([0, 1, 2, 0])
    for objective in (CLP(), LSQ(), CLP(squared=True)):
        for rows in (x, x[:1]):
            model.zero_grad()
            objective.loss(model, rows, y[: len(rows)], THREAT, progress=0.0).loss.backward()
            assert torch.isfinite(model.weight.grad).all()


@pytest.mark.parametrize("objective", [CLP(sigma=0), LSQ(sigma=0)])
def test_descent_makes_the_penalty_small(objective):
    model, data = network(), examples(12)
    before = run(objective, model, data).logs["penalty"]
    strong = type(objective)(sigma=0, weight=5.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        run(strong, model, data).loss.backward()
        optimizer.step()
    assert run(objective, model, data).logs["penalty"] < before / 3


def test_one_forward_and_one_backward_are_declared_and_taken():
    for objective in (CLP(), LSQ()):
        model, calls = network(), []
        model.register_forward_hook(lambda *parts, calls=calls: calls.append(1))
        result = run(objective, model, examples(5))
        assert len(calls) == objective.passes.forwards == objective.passes.backwards == 1
        assert all(each.grad is None for each in model.parameters())
        assert result.loss.requires_grad


def test_float64_stays():
    data = examples(5)
    result = CLP().loss(
        network().double(), data.inputs().double(), data.labels, THREAT, progress=0.0
    )
    assert result.loss.dtype == result.x_adv.dtype == torch.float64


FITS = {"clean": (1, 0), "adversarial": (0, 1), "both": (0.5, 0.5)}


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("fitted_on", FITS)
def test_adversarial_pairs_are_drawn_together(fitted_on, squared):
    x, y = vectors()
    model, keys = plain(), Keys.of(2, range(6))
    objective = ALP(weight=0.7, fitted_on=fitted_on, squared=squared)
    result = objective.loss(model, x, y, THREAT, progress=0.5, keys=keys)
    wanted = objective.attack.perturb(FrozenModel(model), x, y, THREAT, keys=keys)
    assert torch.equal(result.x_adv, wanted)
    assert THREAT.contains(wanted, x).all()

    def value():
        clean, perturbed = model(x), model(wanted)
        distance = (perturbed - clean).square().sum(1)
        penalty = (distance if squared else distance.sqrt()).mean()
        first, second = FITS[fitted_on]
        fit = first * cross_entropy(clean, y) + second * cross_entropy(perturbed, y)
        return fit + 0.7 * penalty

    torch.testing.assert_close(result.loss, value())
    torch.testing.assert_close(
        gradients(result.loss, model), differences(value, model), rtol=1e-5, atol=1e-7
    )
    assert result.logs["accuracy"] == (model(x).argmax(1) == y).float().mean()
    assert result.logs["adversarial_accuracy"] == (model(wanted).argmax(1) == y).float().mean()


def test_the_attack_of_pairs_maximises_the_loss_and_not_the_distance():
    x, y = vectors()
    model, keys = plain(), Keys.of(2, range(6))
    found = [ALP(weight=w).loss(model, x, y, THREAT, progress=0.5, keys=keys) for w in (0, 9)]
    assert torch.equal(found[0].x_adv, found[1].x_adv)
    assert cross_entropy(model(found[0].x_adv), y) > cross_entropy(model(x), y)


@pytest.mark.parametrize("joint", [False, True])
def test_pairs_cost_the_declared_passes(joint):
    objective = ALP(attack=PGD(steps=3, restarts=1), joint_forward=joint)
    counted, _ = calls_of(objective, network(), examples(5))
    assert counted == objective.passes == (5, 5)


@pytest.mark.parametrize(("mode", "updates"), [("eval", 2), ("train", 5)])
def test_pairing_updates_batch_norm_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    run(ALP(attack=PGD(steps=3, restarts=1), attack_mode=mode), model, data)
    assert int(model[1].num_batches_tracked) == updates
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_pairs_at_radius_zero_have_finite_gradients():
    (x, y), model = vectors(), plain()
    result = ALP().loss(model, x[:1], y[:1], Linf(0.0), progress=0.5)
    assert result.logs["penalty"] == 0
    assert gradients(result.loss, model).isfinite().all()


def test_bad_hyperparameters_are_named():
    for change in ({"weight": -1.0}, {"sigma": -0.5}, {"squared": "yes"}):
        with pytest.raises(InputError, match=next(iter(change))):
            CLP(**change)
