import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks import FGSM, PGD
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build
from holdfast.threats import L2, Linf
from holdfast.training.objectives import PGDAT
from holdfast.training.objectives.double_backward import cosines, input_gradients
from holdfast.training.objectives.grad_align import GradAlign
from training.tiny import examples, network

CIFAR10 = "0.03 0.04 0.05 0.06 0.08 0.11 0.15 0.20 0.27 0.36 0.47 0.63 0.84 1.12 1.50 2.00"
SVHN = "1.66 1.76 1.86 1.98 2.10 2.22 2.36 2.50 2.65 2.81 2.98 3.16 3.35 3.56 3.77 4.00"
PGD2 = PGD(steps=2, restarts=1, step_size="eps/2", start="clean")
THREAT = Linf(0.1)


def calls_of(objective, model, data):
    """How often the model went forward and its output backward in one step."""
    count = {"forward": 0, "backward": 0}

    def forward(module, inputs, output):
        count["forward"] += 1
        if output.requires_grad:
            output.register_hook(lambda gradient: count.update(backward=count["backward"] + 1))

    handle = model.register_forward_hook(forward)
    args = (model, data.inputs(), data.labels, THREAT)
    objective.loss(*args, progress=0.5).loss.backward()
    handle.remove()
    return count["forward"], count["backward"]


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (GradAlign(weight=0.2), (3, 4)),
        (GradAlign(weight=0.2, backprop_through="both"), (3, 5)),
        (GradAlign(weight=0.2, point="fgsm"), (3, 4)),
        (GradAlign(weight=0.2, attack=PGD2), (5, 6)),
        (GradAlign(weight=0.2, attack=None), (3, 4)),
    ],
)
def test_declared_passes_are_the_counted_ones(objective, passes):
    assert tuple(objective.passes) == passes
    assert calls_of(objective, network(), examples(5)) == passes


@pytest.mark.parametrize(("name", "row"), [("cifar10", CIFAR10), ("svhn", SVHN)])
def test_weights_reproduce_the_published_table(name, row):
    objective = GradAlign(weight=name)
    for n, cell in enumerate(row.split(), start=1):
        assert f"{objective.weight_in(Linf(n / 255)):.2f}" == cell
    closed = {"cifar10": 0.02 * 10 ** (5 / 8), "svhn": 1.5625 * 1.6 ** (5 / 8)}[name]
    assert objective.weight_in(Linf("5/255")) == pytest.approx(closed)


def test_the_weight_follows_the_radius_of_the_step():
    model, data = network(), examples(5)
    for eps in ("4/255", "12/255"):
        result = GradAlign().loss(model, data.inputs(), data.labels, Linf(eps), progress=0.1)
        weight = GradAlign().weight_in(Linf(eps))
        want = result.logs["fit"] + weight * result.logs["penalty"]
        assert torch.allclose(result.loss, want)
    with pytest.raises(UnsupportedThreat, match="l_inf"):
        GradAlign().loss(model, data.inputs(), data.labels, L2(0.5), progress=0.1)


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.6)])
def test_the_free_step_is_that_of_fgsm_and_of_pgd_with_one_step(threat):
    model, data = network(norm=True), examples(6)
    x, y = data.inputs(), data.labels
    keys = Keys.of(0, data.index)
    with FrozenModel(model, mode="batch") as frozen:
        want = FGSM().perturb(frozen, x, y, threat, keys=keys)
    one = PGD(steps=1, restarts=1, step_size="eps", start="clean")
    far = FGSM(step_size="1.25*eps")  # clipped to the ball again
    for attack in (FGSM(), one, far) if isinstance(threat, Linf) else (FGSM(), one):
        objective = GradAlign(weight=0.2, attack=attack)
        found = objective.loss(model, x, y, threat, progress=0.5, keys=keys).x_adv
        assert torch.allclose(found, want, atol=1e-6)


def test_other_attacks_run_as_they_do_elsewhere():
    model, data = network(), examples(6)
    x, y, keys = data.inputs(), data.labels, Keys.of(0, data.index)
    for attack in (PGD2, FGSM(start="random")):
        want = PGDAT(attack=attack).loss(model, x, y, THREAT, progress=0.5, keys=keys).x_adv
        objective = GradAlign(weight=0.1, attack=attack)
        found = objective.loss(model, x, y, THREAT, progress=0.5, keys=keys).x_adv
        assert torch.equal(found, want)
    clean = GradAlign(weight=0.1, attack=None).loss(model, x, y, THREAT, progress=0.5, keys=keys)
    assert torch.equal(clean.x_adv, x)


def test_linear_models_and_radius_zero_have_nothing_to_align():
    data = examples(6, classes=2)
    x, y = data.inputs(), data.labels
    linear = nn.Sequential(nn.Flatten(), nn.Linear(40, 2))
    for model, threat in ((linear, Linf(0.3)), (network(classes=2), Linf(0.0))):
        result = GradAlign(weight=1.0).loss(model, x, y, threat, progress=0.5)
        assert abs(float(result.logs["penalty"])) < 1e-6


def test_smooth_models_align_as_the_radius_falls():
    model, data = network(), examples(6)
    model[2] = nn.Softplus(beta=4)
    penalties = [
        GradAlign(weight=1.0)
        .loss(model, data.inputs(), data.labels, Linf(eps), progress=0.5)
        .logs["penalty"]
        .item()
        for eps in (1.0, 0.1, 0.01)
    ]
    assert 2 > penalties[0] > penalties[1] > penalties[2]
    assert penalties[2] < 1e-3


def test_the_penalty_is_one_minus_the_mean_cosine_at_the_stated_points():
    model, data = network(), examples(6)
    x, y, keys = data.inputs(), data.labels, Keys.of(4, data.index)
    first = input_gradients(model, x, y, graph=False)
    eta = keys.fold("align").uniform(x.shape[1:], low=-0.1, high=0.1)
    fgsm = x + 0.1 * first.sign()
    cases = {
        ("uniform", False): x + eta,
        ("uniform", True): (x + eta).clamp(0, 1),
        ("fgsm", False): fgsm,
        ("fgsm", True): fgsm.clamp(0, 1),
    }
    for (point, clip), other in cases.items():
        cos, _ = cosines(first, input_gradients(model, other, y, graph=False))
        objective = GradAlign(weight=1.0, point=point, clip=clip)
        result = objective.loss(model, x, y, THREAT, progress=0.5, keys=keys)
        assert torch.allclose(result.logs["penalty"], 1 - cos.mean(), atol=1e-6)


def test_examples_without_gradient_are_left_out_of_the_mean():
    model, data = network(), examples(4)
    x, y, keys = data.inputs(), data.labels, Keys.of(4, data.index)
    x = torch.cat([x, torch.full_like(x[:2], -1e4)])  # where every unit is off
    with torch.no_grad():
        model[0].weight.abs_()
    y, keys = torch.cat([y, y[:2]]), Keys.of(4, range(6))
    objective = GradAlign(weight=1.0, attack=None)
    threat = Linf(0.1, box=None)
    whole = objective.loss(model, x, y, threat, progress=0.5, keys=keys)
    part = objective.loss(model, x[:4], y[:4], threat, progress=0.5, keys=keys[:4])
    assert torch.allclose(whole.logs["penalty"], part.logs["penalty"], atol=1e-6)
    assert part.logs["penalty"] > 0


def smooth_world():
    generator = torch.Generator().manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 5), nn.Softplus(beta=3), nn.Linear(5, 3)).double()
    with torch.no_grad():
        for each in model.parameters():
            each.copy_(torch.randn(each.shape, generator=generator, dtype=torch.float64))
    x = torch.rand(4, 6, generator=generator, dtype=torch.float64)
    return model, x, torch.tensor([0, 2, 1, 1]), Keys.of(1, range(4))


@pytest.mark.parametrize("backprop_through", ["second", "both"])
@pytest.mark.parametrize("attack", [None, FGSM()])
def test_gradients_are_those_of_finite_differences(backprop_through, attack):
    model, x, y, keys = smooth_world()
    threat = Linf(0.2, box=None)
    objective = GradAlign(weight=1.0, backprop_through=backprop_through, attack=attack)
    eta = keys.fold("align").uniform((6,), low=-1.0, high=1.0).double() * 0.2
    held = input_gradients(model, x, y, graph=False)
    result = objective.loss(model, x, y, threat, progress=0.5, keys=keys)
    result.loss.backward()

    def value():
        fixed = backprop_through == "second"
        first = held if fixed else input_gradients(model, x, y, graph=False)
        second = input_gradients(model, x + eta, y, graph=False)
        fitted = cross_entropy(model(result.x_adv), y)
        return (fitted + (1 - cosines(first, second)[0]).mean()).item()

    assert value() == pytest.approx(result.loss.item(), abs=1e-12)
    step = 1e-5
    for weight in model.parameters():
        found, numeric = weight.grad.flatten(), torch.empty_like(weight.grad).flatten()
        flat = weight.data.view(-1)
        for i in range(len(flat)):
            sides = []
            for sign in (1, -1):
                flat[i] += sign * step
                sides.append(value())
                flat[i] -= sign * step
            numeric[i] = (sides[0] - sides[1]) / (2 * step)
        assert torch.allclose(found, numeric, atol=1e-8, rtol=1e-6)


def test_the_two_options_differ_and_the_term_is_trained():
    found = {}
    for option in ("second", "both"):
        model, x, y, keys = smooth_world()
        objective = GradAlign(weight=1.0, backprop_through=option)
        threat = Linf(0.5, box=None)
        objective.loss(model, x, y, threat, progress=0.5, keys=keys).loss.backward()
        found[option] = model[0].weight.grad
    assert not torch.allclose(found["second"], found["both"], atol=1e-3)


@pytest.mark.parametrize("backprop_through", ["second", "both"])
def test_descent_aligns_the_gradients(backprop_through):
    ratio = {}
    for weight in (0.0, 5.0):
        model, x, y, keys = smooth_world()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
        objective, trace = GradAlign(weight=weight, backprop_through=backprop_through), []
        for _ in range(20):
            result = objective.loss(model, x, y, Linf(0.5, box=None), progress=0.5, keys=keys)
            trace.append(result.logs["penalty"].item())
            optimizer.zero_grad()
            result.loss.backward()
            optimizer.step()
        ratio[weight] = trace[-1] / trace[0]
    assert ratio[5.0] < 0.3
    assert ratio[0.0] > 0.7


@pytest.mark.parametrize(("mode", "updates"), [("eval", 1), ("batch", 1), ("train", 3)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    objective = GradAlign(weight=0.2, attack_mode=mode)
    result = objective.loss(model, data.inputs(), data.labels, THREAT, progress=0.5)
    result.loss.backward()
    assert int(model[1].num_batches_tracked) == updates
    assert all(module.training for module in model.modules())
    assert all(each.grad is not None for each in model.parameters())


def test_the_random_point_of_an_example_is_its_own():
    model, data = network(), examples(7)
    x, y, keys = data.inputs(), data.labels, Keys.of(2, data.index)
    objective = GradAlign(weight=1.0)
    single = [
        objective.loss(
            model, x[i : i + 1], y[i : i + 1], THREAT, progress=0.5, keys=keys[i : i + 1]
        )
        for i in range(7)
    ]
    whole = objective.loss(model, x, y, THREAT, progress=0.5, keys=keys)
    penalties = torch.stack([each.logs["penalty"] for each in single])
    assert torch.allclose(whole.logs["penalty"], penalties.mean(), atol=1e-6)
    other = objective.loss(model, x, y, THREAT, progress=0.5, keys=keys.fold(1))
    assert other.logs["penalty"] != whole.logs["penalty"]


def test_it_can_be_written_in_a_recipe():
    assert build(GradAlign, {"weight": "8/40", "attack": "none"}) == GradAlign(
        weight=0.2, attack=None
    )
    assert build(GradAlign, {"weight": "svhn", "attack": "fgsm"}) == GradAlign(weight="svhn")
    for change in ({"weight": -1.0}, {"point": "corner"}, {"backprop_through": "first"}):
        with pytest.raises(InputError, match=next(iter(change))):
            GradAlign(**change)
