import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.divergence import DIVERGENCES, kl
from holdfast.threats import L2, Linf
from holdfast.training.objectives.standard import Standard
from holdfast.training.objectives.trades import TRADES
from training.objectives.counted import Margin, calls_of, differences, gradients, plain, vectors
from training.tiny import examples, network

SHORT = TRADES(steps=3)
THREAT = Linf(0.1)
KINDS = pytest.mark.parametrize("divergence", DIVERGENCES)


def step(objective, model, x, y, threat=THREAT, **more):
    return objective.loss(model, x, y, threat, progress=0.5, **more)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_declared_passes_are_the_counted_ones(joint, steps):
    objective = TRADES(steps=steps, joint_forward=joint)
    counted, _ = calls_of(objective, network(), examples(5))
    assert counted == objective.passes == (steps + 3, steps + 2)


def test_the_published_settings_are_the_defaults():
    objective = TRADES()
    assert (objective.weight, objective.steps, objective.start) == (6.0, 10, "normal")
    x, y = vectors()
    moved = TRADES(steps=1, start="uniform").loss(plain(), x, y, Linf(0.03), progress=0)
    start = Linf(0.03).sample(x, keys=Keys.by_content(0, x).fold(0).fold("start"))
    inside = (moved.x_adv - x).abs() < 0.03 - 1e-9
    assert torch.allclose((moved.x_adv - start).abs()[inside], torch.tensor(0.007).double())


@KINDS
def test_the_loss_is_clean_cross_entropy_plus_divergence(divergence):
    x, y = vectors()
    model = plain()
    result = step(TRADES(weight=2.5, divergence=divergence), model, x, y)
    clean, perturbed = model(x), model(result.x_adv)
    away = DIVERGENCES[divergence](perturbed, clean).mean()
    torch.testing.assert_close(result.loss, cross_entropy(clean, y) + 2.5 * away)
    assert away > 0
    assert result.logs["divergence"] == away
    assert result.logs["accuracy"] == (clean.argmax(1) == y).float().mean()
    assert result.logs["adversarial_accuracy"] == (perturbed.argmax(1) == y).float().mean()


@KINDS
def test_the_perturbation_climbs_the_divergence_inside_the_threat(divergence):
    x, y = vectors()
    model, distance = plain(), DIVERGENCES[divergence]
    for threat in (Linf(0.1), L2(0.2), Linf(0.1, box=None)):
        result = step(TRADES(divergence=divergence), model, x, y, threat)
        assert threat.contains(result.x_adv, x).all()
        found = distance(model(result.x_adv), model(x))
        drawn = threat.sample(x, keys=Keys.by_content(1, x))
        assert (found > 0).all()
        assert found.mean() > 1.3 * distance(model(drawn), model(x)).mean()


@KINDS
def test_gradients_flow_through_both_answers(divergence):
    x, y = vectors()
    model = plain()
    result = step(TRADES(weight=2.0, divergence=divergence, steps=2), model, x, y)
    x_adv = result.x_adv

    def value(held=None):
        clean = model(x)
        reference = clean if held is None else held
        away = DIVERGENCES[divergence](model(x_adv), reference)
        return cross_entropy(clean, y) + 2 * away.mean()

    found = gradients(result.loss, model)
    torch.testing.assert_close(found, differences(value, model), rtol=1e-5, atol=1e-7)
    cut = gradients(value(model(x).detach()), model)
    assert (found - cut).norm() > 0.05 * found.norm()


def test_without_weight_it_is_ordinary_training_to_the_bit():
    models = [network(norm=True), network(norm=True)]
    data = examples(6)
    for _ in range(3):
        for model, objective in zip(models, (TRADES(weight=0), Standard()), strict=True):
            result = step(objective, model, data.inputs(), data.labels)
            model.zero_grad()
            result.loss.backward()
            torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(map(torch.equal, *(model.state_dict().values() for model in models)))
    assert calls_of(TRADES(weight=0), models[0], data)[0] == TRADES(weight=0).passes == (1, 1)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_literal_start_is_warned_of_and_never_leaves(divergence, dtype):
    with pytest.warns(UserWarning, match="no gradient at its start"):
        literal = TRADES(start="clean", divergence=divergence)
    x, y = vectors()
    model = plain().to(dtype)
    result = step(literal, model, x.to(dtype), y)
    assert torch.equal(result.x_adv, x.to(dtype))
    for start in ("normal", "uniform"):
        moved = step(TRADES(start=start, divergence=divergence), model, x.to(dtype), y).x_adv
        assert ((moved - x).abs().amax(1) > 0.09).all()


@pytest.mark.parametrize("start", ["normal", "uniform"])
def test_on_a_binary_linear_model_it_reaches_an_end_of_the_margins(start):
    model, eps = Margin([0.7, -1.1, 0.4, 0.2]), 0.03
    x, y = vectors(7, inputs=4, classes=2)
    threat = Linf(eps, box=None)
    result = step(TRADES(start=start), model, x, y, threat)
    t = model(x)[:, 1].detach()
    moved = model(result.x_adv)[:, 1].detach() - t
    reach = eps * 2.4
    torch.testing.assert_close(moved.abs(), torch.full_like(t, reach))
    # KL(p || p') = log(1 + e^t') - sigma(t) t' - [the same at t]

    def away(end):
        both = [torch.log1p(s.exp()) - t.sigmoid() * s for s in (t + end, t)]
        return both[0] - both[1]

    torch.testing.assert_close(kl(model(result.x_adv), model(x)).detach(), away(moved))
    best = torch.maximum(away(reach), away(-reach))
    assert (away(moved) <= best + 1e-12).all()
    inner = torch.stack([away(s) for s in torch.linspace(-reach, reach, 101).double()]).amax(0)
    torch.testing.assert_close(inner, best)


def test_it_reaches_an_end_from_anywhere_once_its_steps_add_up_to_the_diameter():
    model, eps = Margin([0.7, -1.1, 0.4, 0.2]), 0.03
    x, y = vectors(40, inputs=4, classes=2)
    at_an_end = {}
    for steps in (8, 14, 16, 20):
        objective = TRADES(start="uniform", steps=steps, step_size="eps/8")
        result = step(objective, model, x, y, Linf(eps, box=None))
        moved = (model(result.x_adv) - model(x))[:, 1].detach().abs()
        at_an_end[steps] = (moved > (1 - 1e-6) * eps * 2.4).double().mean()
    assert at_an_end[16] == at_an_end[20] == 1
    assert at_an_end[8] < at_an_end[14] < 1


def test_it_grows_affinely_with_the_weight():
    x, y = vectors()
    losses = [step(TRADES(weight=w), plain(), x, y).loss.item() for w in (1.0, 2.0, 4.0)]
    assert losses[1] - losses[0] == pytest.approx((losses[2] - losses[0]) / 3, rel=1e-9)
    assert losses[1] > losses[0]


@pytest.mark.parametrize(("mode", "updates"), [("eval", 2), ("batch", 2), ("train", 2 + 1 + 3)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    objective = TRADES(steps=3, attack_mode=mode)
    step(objective, model, data.inputs(), data.labels)
    assert int(model[1].num_batches_tracked) == updates
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_an_example_is_attacked_alike_in_any_batch():
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(2, data.index)
    whole = step(SHORT, model, x, y, keys=keys).x_adv
    part = step(SHORT, model, x[3:], y[3:], keys=keys[3:]).x_adv
    assert torch.allclose(whole[3:], part, atol=1e-6)
    assert torch.equal(step(SHORT, model, x, (y + 1) % 3, keys=keys).x_adv, whole)


def test_one_example_soft_labels_and_radius_zero_work():
    x, y = vectors()
    model = plain()
    alone = step(SHORT, model, x[:1], y[:1])
    assert alone.loss.isfinite()
    hard = step(SHORT, model, x, y)
    soft = step(SHORT, model, x, one_hot(y, 4).double())
    torch.testing.assert_close(soft.loss, hard.loss)
    assert soft.logs["accuracy"] == hard.logs["accuracy"]
    still = step(SHORT, model, x, y, Linf(0.0))
    assert torch.equal(still.x_adv, x)
    assert still.loss.item() == pytest.approx(cross_entropy(model(x), y).item())


def test_label_smoothing_reaches_the_labels_only():
    x, y = vectors()
    plainly, smooth = (
        step(TRADES(label_smoothing=each), plain(), x, y).logs for each in (0.0, 0.2)
    )
    assert smooth["divergence"] == plainly["divergence"]
    wanted = cross_entropy(plain()(x), y, label_smoothing=0.2)
    assert smooth["cross_entropy"].item() == pytest.approx(wanted.item(), rel=1e-9)


def test_bad_hyperparameters_are_named():
    for change in ({"weight": -1.0}, {"steps": 0}, {"step_size": "x"}, {"divergence": "js"}):
        with pytest.raises(InputError, match=next(iter(change))):
            TRADES(**change)
