import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from holdfast.training.objectives.llr import LLR
from holdfast.training.precision import Autocast
from training.objectives.counted import calls_of, differences, gradients, plain, vectors
from training.tiny import examples, network

THREAT = Linf(0.1)


def step(objective, model, x, y, threat=THREAT, **more):
    return objective.loss(model, x, y, threat, progress=0.5, **more)


def parts(model, x, delta, y):
    """Loss, linearity error and slope of each example, differentiable."""
    x = x.clone().requires_grad_()
    value = cross_entropy(model(x), y, reduction="none")
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    rise = (slope * delta).flatten(1).sum(1)
    there = cross_entropy(model(x + delta), y, reduction="none")
    return value, (there - value - rise).abs(), rise.abs()


def test_the_loss_is_the_published_one():
    x, y = vectors()
    model = plain()
    result = step(LLR(), model, x, y)
    value, error, rise = (each.mean() for each in parts(model, x, result.x_adv - x, y))
    torch.testing.assert_close(result.loss, value + 4 * error + 3 * rise)
    assert error > 0
    torch.testing.assert_close(result.logs["linearity_error"], error.detach())
    torch.testing.assert_close(result.logs["slope"], rise.detach())
    assert result.logs["accuracy"] == (model(x).argmax(1) == y).float().mean()


def test_weight_gradients_agree_with_finite_differences():
    x, y = vectors()
    model = plain()
    objective = LLR(weight=4.0, slope_weight=3.0)
    result = step(objective, model, x, y)
    delta = result.x_adv - x

    def value():
        with torch.enable_grad():
            fit, error, rise = parts(model, x, delta, y)
        return (fit + 4 * error + 3 * rise).mean()

    torch.testing.assert_close(
        gradients(result.loss, model), differences(value, model), rtol=1e-4, atol=1e-7
    )


def test_the_perturbation_climbs_the_linearity_error_inside_the_threat():
    x, y = vectors()
    model = plain()
    for threat in (Linf(0.1), L2(0.2), Linf(0.1, box=None)):
        found = step(LLR(), model, x, y, threat).x_adv
        assert threat.contains(found, x).all()
        drawn = threat.sample(x, keys=Keys.by_content(1, x))
        errors = [parts(model, x, point - x, y)[1].mean() for point in (found, drawn)]
        assert errors[0] > 1.5 * errors[1]


def test_the_inner_steps_follow_the_gradient_of_the_error():
    x, y = vectors()
    model, threat, keys = plain(), Linf(0.1, box=None), Keys.of(3, range(6))
    found = step(LLR(steps=2, step_size=0.03), model, x, y, threat, keys=keys).x_adv
    point = threat.sample(x, keys=keys.fold(0).fold("start"))
    for _ in range(2):
        delta = (point - x).requires_grad_()
        (ascent,) = torch.autograd.grad(parts(model, x, delta, y)[1].sum(), delta)
        point = x + (delta.detach() + 0.03 * ascent.sign()).clamp(-0.1, 0.1)
    torch.testing.assert_close(found, point)


def test_both_terms_bound_the_loss_over_the_threat():
    model, (x, y) = plain(inputs=1, classes=3), vectors(4, inputs=1, classes=3)
    threat = Linf(0.2, box=None)
    offsets = torch.linspace(-0.2, 0.2, 81).double()
    value, _, _ = parts(model, x, torch.zeros_like(x), y)
    found = [parts(model, x, torch.full_like(x, d), y) for d in offsets.tolist()]
    error, rise = (torch.stack([each[i] for each in found]) for i in (1, 2))
    moved = [cross_entropy(model(x + d), y, reduction="none") for d in offsets]
    assert (torch.stack(moved) <= value + rise + error.amax(0) + 1e-12).all()
    delta = step(LLR(steps=8), model, x, y, threat).x_adv - x
    reached = parts(model, x, delta, y)[1]
    assert (reached <= error.amax(0) + 1e-9).all()
    assert (reached >= 0.3 * error.amax(0)).all()


def test_on_a_linear_loss_there_is_no_error_and_the_slope_is_exact():
    class Steep(nn.Module):
        """So wrong by so much that the cross-entropy is linear: margin 60 + w x."""

        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64))

        def forward(self, x):
            t = x @ self.w + 60
            return torch.stack([torch.zeros_like(t), t], 1)

    model, (x, _) = Steep(), vectors()
    y = torch.zeros(len(x), dtype=torch.int64)
    result = step(LLR(), model, x, y)
    rise = ((result.x_adv - x) @ model.w).abs().mean()
    assert result.logs["linearity_error"] < 1e-12
    torch.testing.assert_close(result.logs["slope"], rise.detach())
    torch.testing.assert_close(result.loss, cross_entropy(model(x), y) + 3 * rise)


@pytest.mark.parametrize("steps", [1, 3])
def test_declared_passes_are_the_counted_ones(steps):
    objective = LLR(steps=steps)
    counted, _ = calls_of(objective, network(), examples(5))
    assert counted == objective.passes == (steps + 3, steps + 4)


@pytest.mark.parametrize(("mode", "updates"), [("eval", 2), ("batch", 2), ("train", 5)])
def test_batch_norm_is_updated_as_the_mode_says(mode, updates):
    model, data = network(norm=True), examples(8)
    result = step(LLR(attack_mode=mode), model, data.inputs(), data.labels)
    assert int(model[1].num_batches_tracked) == updates
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    result.loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_the_regulariser_is_in_float32_under_mixed_precision():
    model, data = network(), examples(6)
    wrapped = Autocast(model, torch.device("cpu"), torch.bfloat16)
    x, y = data.inputs(), data.labels
    result = step(LLR(), wrapped, x, y)
    _, error, rise = (each.mean() for each in parts(model, x, result.x_adv - x, y))
    torch.testing.assert_close(result.logs["linearity_error"], error.detach())
    torch.testing.assert_close(result.logs["slope"], rise.detach())
    assert result.logs["cross_entropy"] == cross_entropy(wrapped(x), y)
    assert result.logs["cross_entropy"] != cross_entropy(model(x), y)


def test_one_example_soft_labels_radius_zero_and_any_batch_work():
    x, y = vectors()
    model, keys = plain(), Keys.of(1, range(6))
    whole = step(LLR(), model, x, y, keys=keys)
    part = step(LLR(), model, x[4:], y[4:], keys=keys[4:])
    assert torch.allclose(whole.x_adv[4:], part.x_adv, atol=1e-12)
    assert step(LLR(), model, x[:1], y[:1]).loss.isfinite()
    soft = step(LLR(), model, x, one_hot(y, 4).double(), keys=keys)
    torch.testing.assert_close(soft.loss, whole.loss)
    still = step(LLR(), model, x, y, Linf(0.0))
    torch.testing.assert_close(still.loss, cross_entropy(model(x), y))
    radii = Linf(torch.linspace(0.05, 0.1, 6).double())
    assert radii.contains(step(LLR(), model, x, y, radii).x_adv, x).all()


def test_bad_hyperparameters_are_named():
    for change in ({"weight": -1.0}, {"slope_weight": -1.0}, {"steps": 0}, {"step_size": "x"}):
        with pytest.raises(InputError, match=next(iter(change))):
            LLR(**change)
