import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from holdfast.attacks import FGSM, PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.divergence import DIVERGENCES, kl
from holdfast.losses.margin import Margin as MarginLoss
from holdfast.threats import L2, Linf
from holdfast.training.objectives.adversarial_regularization import AR
from holdfast.training.objectives.pgd_at import PGDAT
from holdfast.training.objectives.trades import TRADES
from training.objectives.counted import Margin, calls_of, differences, gradients, plain, vectors
from training.tiny import examples, network

ATTACK = PGD(steps=3, restarts=1, step_size="eps/2", start="clean")
THREAT = Linf(0.1)
KINDS = pytest.mark.parametrize("divergence", DIVERGENCES)


def step(objective, model, x, y, threat=THREAT, **more):
    return objective.loss(model, x, y, threat, progress=0.5, **more)


def trained(objective, steps=3):
    """The weights and buffers after some steps, with what was logged."""
    model, data = network(norm=True), examples(6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    keys, logs = Keys.of(5, data.index), []
    for number in range(steps):
        result = step(objective, model, data.inputs(), data.labels, keys=keys.fold(number))
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        logs.append(result.logs)
    return [*model.state_dict().values()], logs


@pytest.mark.parametrize("mode", ["eval", "batch", "train"])
@pytest.mark.parametrize("start", ["clean", "random"])
def test_without_weight_it_is_adversarial_training_to_the_bit(start, mode):
    attack = PGD(steps=3, restarts=1, start=start)
    found, logs = trained(AR(weight=0, attack=attack, attack_mode=mode, label_smoothing=0.1))
    wanted, wanted_logs = trained(PGDAT(attack=attack, attack_mode=mode, label_smoothing=0.1))
    assert all(map(torch.equal, found, wanted))
    assert logs == wanted_logs
    weighted, _ = trained(AR(weight=0.1, attack=attack, attack_mode=mode, label_smoothing=0.1))
    assert not torch.equal(weighted[0], wanted[0])


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize(("weight", "passes"), [(2.0, (6, 5)), (0.0, (4, 4))])
def test_declared_passes_are_the_counted_ones(weight, passes, joint):
    objective = AR(weight=weight, attack=ATTACK, joint_forward=joint)
    counted, _ = calls_of(objective, network(), examples(5))
    assert counted == objective.passes == passes


@KINDS
def test_the_loss_fits_the_perturbed_inputs(divergence):
    x, y = vectors()
    model = plain()
    result = step(AR(weight=2.5, divergence=divergence), model, x, y)
    clean, perturbed = model(x), model(result.x_adv)
    away = DIVERGENCES[divergence](perturbed, clean).mean()
    torch.testing.assert_close(result.loss, cross_entropy(perturbed, y) + 2.5 * away)
    assert result.logs["accuracy"] == (perturbed.argmax(1) == y).float().mean()
    assert result.logs["unperturbed_accuracy"] == (clean.argmax(1) == y).float().mean()


@KINDS
def test_the_first_step_is_that_of_the_cross_entropy(divergence):
    x, y = vectors()
    model, threat = plain(), Linf(0.1)
    one = PGD(steps=1, restarts=1, step_size="eps", start="clean")
    first = step(AR(attack=one, weight=50.0, divergence=divergence), model, x, y, threat).x_adv
    result = step(PGDAT(attack=FGSM(), attack_mode="eval"), model, x, y, threat)
    assert torch.equal(first, result.x_adv)


@KINDS
def test_the_attack_climbs_the_whole_loss(divergence):
    x, y = vectors()
    model, weight, distance = plain(), 3.0, DIVERGENCES[divergence]

    def inner(points):
        values = cross_entropy(model(points), y, reduction="none")
        return (values + weight * distance(model(points), model(x))).detach()

    whole = step(AR(weight=weight, divergence=divergence), model, x, y).x_adv
    label_only = step(AR(weight=0), model, x, y).x_adv
    assert (inner(whole) > inner(x)).all()
    assert inner(whole).mean() >= inner(label_only).mean() - 1e-9
    two = PGD(steps=2, restarts=1, step_size=0.05, start="clean")
    objective = AR(weight=weight, divergence=divergence, attack=two)
    moved = step(objective, model, x, y, L2(0.3, box=None)).x_adv
    point = x.clone()
    for _ in range(2):
        point.requires_grad_()
        value = cross_entropy(model(point), y, reduction="sum")
        value = value + weight * distance(model(point), model(x).detach()).sum()
        (slope,) = torch.autograd.grad(value, point)
        point = point.detach() + 0.05 * slope / slope.norm(dim=1, keepdim=True)
    torch.testing.assert_close(moved, point)


@KINDS
def test_gradients_flow_through_both_answers(divergence):
    x, y = vectors()
    model = plain()
    result = step(AR(weight=2.0, divergence=divergence), model, x, y)

    def value(held=None):
        perturbed = model(result.x_adv)
        away = DIVERGENCES[divergence](perturbed, model(x) if held is None else held)
        return cross_entropy(perturbed, y) + 2 * away.mean()

    found = gradients(result.loss, model)
    torch.testing.assert_close(found, differences(value, model), rtol=1e-5, atol=1e-7)
    cut = gradients(value(model(x).detach()), model)
    assert (found - cut).norm() > 0.05 * found.norm()


def test_on_a_binary_linear_model_it_reaches_the_worst_margin():
    model, eps = Margin([0.7, -1.1, 0.4, 0.2]), 0.03
    x, y = vectors(7, inputs=4, classes=2)
    result = step(AR(weight=1.5), model, x, y, Linf(eps, box=None))
    t = model(x)[:, 1].detach()
    end = t - eps * 2.4 * (2.0 * y - 1)
    torch.testing.assert_close(model(result.x_adv)[:, 1], end)
    fit = torch.log1p((-(2.0 * y - 1) * end).exp())
    away = torch.log1p(end.exp()) - torch.log1p(t.exp()) - t.sigmoid() * (end - t)
    torch.testing.assert_close(result.loss.detach(), (fit + 1.5 * away).mean())


@pytest.mark.parametrize(("steps", "reach"), [(6, 0.75), (7, 0.875), (8, 1.0), (10, 1.0)])
def test_it_reaches_the_worst_margin_once_its_steps_add_up_to_the_radius(steps, reach):
    model, eps = Margin([0.7, -1.1, 0.4, 0.2]), 0.03
    x, y = vectors(7, inputs=4, classes=2)
    attack = PGD(steps=steps, restarts=1, step_size="eps/8", start="clean")
    result = step(AR(weight=1.5, attack=attack), model, x, y, Linf(eps, box=None))
    moved = (model(result.x_adv) - model(x))[:, 1].detach()
    torch.testing.assert_close(moved, -reach * eps * 2.4 * (2.0 * y.double() - 1))


@pytest.mark.parametrize("inputs", [1, 2])
def test_exact_values_are_sandwiched_and_convex_in_the_weight(inputs):
    model, eps = plain(inputs=inputs, classes=3), 0.2
    x, y = vectors(4, inputs=inputs, classes=3)
    axis = torch.linspace(-eps, eps, 41).double()
    grid = torch.cartesian_prod(*[axis] * inputs).view(-1, 1, inputs)
    points = (x + grid).clamp(0, 1)
    flat = points.flatten(0, 1)
    with torch.no_grad():
        fit = cross_entropy(model(flat), y.repeat(len(grid)), reduction="none").view(-1, 4)
        away = kl(model(flat), model(x).repeat(len(grid), 1)).view(-1, 4)
    robust, widest, values = fit.amax(0), away.amax(0), []
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0):
        values.append((fit + weight * away).amax(0))
        assert (values[-1] >= robust).all()
        assert (values[-1] <= robust + weight * widest + 1e-12).all()
        result = step(AR(weight=weight), model, x, y, Linf(eps))
        assert result.loss <= values[-1].mean() + 1e-3
        assert result.loss >= cross_entropy(model(x), y)
    slopes = torch.stack(values).diff(dim=0)
    assert (slopes >= 0).all()
    assert (slopes.diff(dim=0) >= -1e-12).all()


@pytest.mark.parametrize(("mode", "updates"), [("eval", 2), ("batch", 2), ("train", 6)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    step(AR(attack=ATTACK, attack_mode=mode), model, data.inputs(), data.labels)
    assert int(model[1].num_batches_tracked) == updates
    assert all(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_an_example_is_attacked_alike_in_any_batch():
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(2, data.index)
    objective = AR(attack=PGD(steps=3, restarts=1))
    whole = step(objective, model, x, y, keys=keys).x_adv
    part = step(objective, model, x[3:], y[3:], keys=keys[3:]).x_adv
    assert torch.allclose(whole[3:], part, atol=1e-6)
    assert Linf(0.1).contains(whole, x).all()


def test_the_attack_keeps_its_own_loss_and_soft_labels_work():
    x, y = vectors()
    model = plain()
    attack = PGD(steps=4, restarts=1, start="clean", loss=MarginLoss())
    ours = step(AR(weight=0, attack=attack), model, x, y)
    theirs = step(PGDAT(attack=attack, attack_mode="eval"), model, x, y)
    assert torch.equal(ours.x_adv, theirs.x_adv)
    hard, soft = (step(AR(), model, x, each) for each in (y, one_hot(y, 4).double()))
    torch.testing.assert_close(soft.loss, hard.loss)
    assert step(AR(), model, x[:1], y[:1]).loss.isfinite()


def test_attacks_without_a_loss_are_refused():
    class Still:
        steps = 1

        def perturb(self, frozen, x, y, threat, *, keys):
            return x

    with pytest.raises(InputError, match="attack='Still': has no loss"):
        AR(attack=Still())
    with pytest.raises(InputError, match="weight"):
        AR(weight=-1)


@pytest.mark.slow
def test_with_little_weight_robustness_stays_where_trades_loses_it():
    """One feature is strong and right for seven of eight examples; twenty are weak, always right
    together, and flipped by the threat. The robust accuracy of a linear model is exact."""
    keys, eps = Keys.of(0, range(200)), 0.06
    y = torch.arange(200) % 2
    sign = (2.0 * y - 1)[:, None]
    strong = 0.12 * sign * torch.where(keys.fold("flip").uniform((1,)) < 1 / 8, -1.0, 1.0)
    weak = 0.03 * sign + 0.02 * keys.fold("noise").normal((20,))
    x = torch.cat([strong, weak], 1).double()

    def accuracies(objective):
        model = torch.nn.Linear(21, 2).double()
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
        for number in range(60):
            optimizer.zero_grad()
            threat = Linf(eps, box=None)
            step(objective, model, x, y, threat, keys=keys.fold(number)).loss.backward()
            optimizer.step()
        w, b = model.weight.detach().diff(dim=0)[0], model.bias.detach().diff()
        margin = (x @ w + b) * sign[:, 0]
        robust = margin > eps * w.abs().sum()
        return (margin > 0).double().mean(), robust.double().mean()

    def trades(weight):
        return TRADES(weight=weight, steps=3, step_size="eps")

    for objective in (AR(weight=0, attack=ATTACK), AR(weight=0.01, attack=ATTACK), trades(6.0)):
        assert accuracies(objective)[1] > 0.8
    for objective in (trades(0.0), trades(0.01)):
        clean, robust = accuracies(objective)
        assert clean > 0.98
        assert robust < 0.2
