from itertools import pairwise

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.models.purified import InnerOptimisation, Purify, energy
from nets import examples, small_net

B, C, H, W, F = 3, 2, 7, 6, 11
SHAPES = [(F,), (H, W), (C, H, W)]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_energy_falls_at_every_step(shape):
    x = torch.rand(B, *shape)
    found = [energy(Purify(steps)(x), x, 1.0) for steps in range(1, 7)]
    found.insert(0, energy(x, x, 1.0))
    assert all((after < before).all() for before, after in pairwise(found))


def test_the_loop_ends_at_the_minimum_of_the_energy():
    """On a vector: (1 + w L) v = x with L the Laplacian of a path."""
    x, weight = torch.rand(B, F, dtype=torch.float64), 0.7
    laplacian = torch.zeros(F, F, dtype=torch.float64)
    for i in range(F - 1):
        edge = torch.zeros(F, dtype=torch.float64)
        edge[i], edge[i + 1] = 1, -1
        laplacian += torch.outer(edge, edge)
    want = torch.linalg.solve(torch.eye(F, dtype=torch.float64) + weight * laplacian, x.T).T
    found = Purify(steps=300, step_size=0.15, weight=weight)(x)
    torch.testing.assert_close(found, want)


def test_a_constant_example_and_a_loop_without_smoothness_change_nothing():
    x = torch.full((B, C, H, W), 0.25)
    assert torch.equal(Purify()(x), x)
    y = torch.rand(B, C, H, W)
    assert torch.equal(Purify(weight=0.0)(y), y)


def test_it_runs_alike_whether_the_caller_records_a_graph_or_not():
    net = small_net()
    x, _ = examples(B, net)
    model = InnerOptimisation(net)
    want = model(x)
    with torch.no_grad():
        assert torch.equal(model(x), want)
    with torch.inference_mode():
        assert torch.equal(model(x), want)
        assert torch.equal(model(x.clone()), want)
    with FrozenModel(model) as frozen:
        assert torch.equal(frozen.logits(x), want)
    torch.testing.assert_close(model(x[1:2]), want[1:2])


def test_autograd_is_entered_in_the_forward_pass(monkeypatch):
    entered = []
    real = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a, **k: entered.append(1) or real(*a, **k))
    net = small_net()
    x, _ = examples(B, net)
    with torch.no_grad():
        InnerOptimisation(net, steps=4)(x)
        assert len(entered) == 4
        net(x)
    assert len(entered) == 4


def test_no_gradient_comes_through_and_none_is_left_behind():
    net = small_net()
    x, y = examples(B, net)
    model = InnerOptimisation(net)
    with FrozenModel(model) as frozen:
        _, _, gradient = frozen.value_and_grad(x, lambda logits: cross_entropy(logits, y))
    assert torch.equal(gradient, torch.zeros_like(x))
    assert x.grad is None
    assert all(each.grad is None for each in model.parameters())


def test_bad_hyperparameters_are_named():
    for change in ({"steps": 0}, {"step_size": 0.0}, {"weight": -1.0}):
        with pytest.raises(InputError, match=next(iter(change))):
            InnerOptimisation(small_net(), **change)
    assert "steps=10, step_size=0.1, weight=1" in repr(Purify())


def test_the_energy_is_half_of_both_squared_distances():
    v = torch.tensor([[[1.0, 2.0], [4.0, 0.0]]])
    x = torch.zeros(1, 2, 2)
    assert energy(v, x, 0.0).item() == pytest.approx((1 + 4 + 16) / 2)
    down, right = (1 - 4) ** 2 + (2 - 0) ** 2, (1 - 2) ** 2 + (4 - 0) ** 2
    assert energy(v, x, 3.0).item() == pytest.approx(21 / 2 + 3 / 2 * (down + right))
