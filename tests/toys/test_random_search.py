import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.correlations import multiple_constants
from holdfast.toys.random_search import (
    MultipleSignSearch,
    Quadratic,
    SoftplusNet,
    expected_value_after,
    gradient_norm_bound,
    one_step_bound,
    random_search,
)
from holdfast.toys.updates import every_multiple_update, multiple_update

SHAPE = (1, 3, 4)
B, D = 5, 12


def objectives():
    return [Quadratic(smoothness=2.5), SoftplusNet.make(1, 7, D)]


def points(count=B, scale=1.0, shape=SHAPE):
    return scale * Keys.of(4, range(count)).normal(shape).double()


@pytest.mark.parametrize("objective", objectives(), ids=["quadratic", "softplus"])
def test_gradients_are_those_of_the_values(objective):
    x = points().requires_grad_()
    (gradient,) = torch.autograd.grad(objective.value(x).sum(), x)
    assert torch.allclose(objective.gradient(x.detach()), gradient, rtol=1e-12)


@pytest.mark.parametrize("objective", objectives(), ids=["quadratic", "softplus"])
def test_smoothness_bounds_the_slope_of_the_gradient(objective):
    x, z = points(200), points(400)[200:]
    slope = (objective.gradient(x) - objective.gradient(z)).flatten(1).norm(dim=1)
    ratio = slope / (x - z).flatten(1).norm(dim=1)
    assert ratio.max().item() <= objective.smoothness * (1 + 1e-12)


def test_smoothness_is_attained():
    convex = SoftplusNet(SoftplusNet.make(1, 7, D).weight, Keys.of(3, range(7)).uniform(()))
    hessian = torch.autograd.functional.hessian(
        lambda x: convex.value(x[None]).sum(), torch.zeros(D, dtype=torch.float64)
    )
    top = torch.linalg.eigvalsh(hessian)[-1].item()
    assert convex.smoothness == pytest.approx(top, rel=1e-10)


def test_random_search_takes_exactly_the_updates_that_lower_the_value():
    g = Quadratic()
    start = torch.tensor([[3.0], [0.4], [1.0]])
    updates = [torch.tensor([[-1.0], [-1.0], [-2.0]]), torch.tensor([[5.0], [-0.5], [-0.25]])]
    path = random_search(g, start, updates.__getitem__, 2)
    # 0.4 - 1 overshoots to -0.6; 1 - 2 = -1 ties and is not taken.
    assert torch.allclose(path.x, torch.tensor([[2.0], [-0.1], [0.75]]))
    assert torch.allclose(path.gradient_norms[:, 0], torch.tensor([3.0, 2.0, 2.0]))
    assert torch.allclose(path.values[:, 2], torch.tensor([0.5, 0.5, 0.28125]))


@pytest.mark.parametrize("objective", objectives(), ids=["quadratic", "softplus"])
def test_values_never_rise_and_are_those_of_the_points(objective):
    path = MultipleSignSearch(gamma=1.5, horizon=40, side=2).run(
        objective, points(), Keys.of(0, range(B))
    )
    assert path.values.shape == path.gradient_norms.shape == (42, B)
    assert bool((path.values.diff(dim=0) <= 0).all())
    assert torch.equal(path.values[-1], objective.value(path.x))
    norms = objective.gradient(path.x).flatten(1).norm(dim=1)
    assert torch.equal(path.gradient_norms[-1], norms)


def test_an_example_depends_on_its_key_alone():
    search, keys, start = (
        MultipleSignSearch(gamma=1.5, horizon=9, side=2),
        Keys.of(0, range(B)),
        points(),
    )
    rows = torch.tensor([3, 0])
    together = search.run(Quadratic(), start, keys).x
    alone = search.run(Quadratic(), start[rows], keys[rows]).x
    assert torch.equal(together[rows], alone)


def test_updates_of_the_search_have_the_length_of_the_theorem():
    search = MultipleSignSearch(gamma=0.8, horizon=16, side=2)
    start = points(scale=50.0)  # so far out that an update is taken half of the time
    path = search.run(Quadratic(), start, Keys.of(0, range(B)))
    moved = (path.x - start).abs()
    unit = 0.8 / math.sqrt(16)
    count = (moved / unit).round()  # of updates that changed an entry, signed and summed
    assert torch.allclose(moved, count * unit, atol=1e-9)
    assert bool((count % 2 == 1).any())
    second_moment, _ = multiple_constants(SHAPE, 2)
    update = multiple_update(Keys.of(0, [0]), SHAPE, 2, unit / 2)
    assert update.square().sum().item() == pytest.approx(unit**2 * second_moment)


def test_the_bound_is_the_printed_formula():
    search = MultipleSignSearch(gamma=0.5, horizon=9, side=2)
    values = torch.tensor([[4.0, 6.0], [9.0, 9.0], [1.0, 2.0]])
    second_moment, correlation = 4.0, 4 / (math.sqrt(2) * 12)
    expected = 2 / (0.5 * correlation * 3) * (3.5 + 0.25 * second_moment * 2.5 / 2)
    assert search.bound(Quadratic(smoothness=2.5), SHAPE, values) == pytest.approx(expected)
    assert gradient_norm_bound(
        3.5, smoothness=2.5, gamma=0.5, horizon=9, second_moment=4.0, correlation=correlation
    ) == pytest.approx(expected)


def test_one_small_step_on_a_quadratic_in_closed_form():
    # While |<grad, delta>| exceeds the curvature term for every update, half of the updates are
    # taken: E g(x_1) = g(x) - E|<grad, delta>| / 2 + (L / 4) ||delta||^2.
    g, x = Quadratic(smoothness=2.0), torch.full((1, 3, 3), 7.0, dtype=torch.float64)
    x[0, 1, 1], x[0, 0, 2] = 31.0, -17.0
    updates = every_multiple_update((1, 3, 3), 1, 0.05)
    size = updates[0].square().sum().item()
    slope = 2.0 * (updates.flatten(1) @ x.flatten()).abs().mean().item()
    exact = g.value(x[None]).item() - slope / 2 + 2.0 / 4 * size
    assert expected_value_after(g, x, updates) == pytest.approx(exact, rel=1e-13)
    assert one_step_bound(g, x, updates) == pytest.approx(exact + 2.0 / 4 * size, rel=1e-13)


def test_bad_input_is_named():
    search = MultipleSignSearch(gamma=1.0, horizon=2, side=4)
    with pytest.raises(InputError, match=r"start=a tensor of shape \(5, 12\): does not fit"):
        search.run(Quadratic(), points().flatten(1), Keys.of(0, range(B)))
    with pytest.raises(InputError, match="side=4: does not fit"):
        search.run(Quadratic(), points(), Keys.of(0, range(B)))
    with pytest.raises(InputError, match="gamma"):
        MultipleSignSearch(gamma=0.0, horizon=2, side=1)
    with pytest.raises(InputError, match="weight, output"):
        SoftplusNet(torch.ones(3, 2), torch.ones(2))
