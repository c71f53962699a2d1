import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, linprog
from scipy.stats import norm as gaussian

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.linear import LinearWorld, largest_moves

B, K, D = 7, 5, 4
NORMS = [1, 2, math.inf]
BOX = (0.0, 1.0)


@pytest.fixture(scope="module")
def world():
    return LinearWorld.make(0, K, D)


@pytest.fixture(scope="module")
def sample(world):
    return world.sample(1, B, mistakes=0.5)


def smallest_over_the_ball(world, x, y, p, radius, box):
    """The exact margin of one example by an independent solver, rival by rival."""
    x, weight = x.double().numpy(), world.weight.numpy()
    clean = (weight @ x + world.bias.numpy()).tolist()
    values = []
    for j in range(world.classes):
        if j != y:
            v = weight[y] - weight[j]
            values.append(clean[y] - clean[j] + least(v, x, p, radius, box))
    return min(values)


def least(v, x, p, radius, box):
    """min v.d over ||d||_p <= radius with x + d in the box, by SciPy."""
    low, high = (-np.inf, np.inf) if box is None else box
    bounds = list(zip(low - x, high - x, strict=True))
    if p == math.inf:
        bounds = [(max(a, -radius), min(b, radius)) for a, b in bounds]
        return linprog(v, bounds=bounds).fun
    if p == 1:  # d = a - b with a, b >= 0 and sum(a + b) <= radius
        cap = [(0, None if box is None else b) for _, b in bounds]
        cap += [(0, None if box is None else -a) for a, _ in bounds]
        n = len(v)
        return linprog(np.r_[v, -v], A_ub=np.ones((1, 2 * n)), b_ub=[radius], bounds=cap).fun
    return least_by_multiplier(v, *zip(*bounds, strict=True), radius)


def least_by_multiplier(v, low, high, radius):
    """The same in the 2-norm, by a root search for the multiplier of the ball."""

    def minimiser(log_multiplier):
        return np.clip(-v / np.exp(log_multiplier), low, high)

    def excess(log_multiplier):
        return np.linalg.norm(minimiser(log_multiplier)) - radius

    if excess(-40.0) < 0:
        return v @ minimiser(-40.0)
    return v @ minimiser(brentq(excess, -40.0, 40.0, xtol=1e-14))


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [None, BOX])
@pytest.mark.parametrize("radius", [0.1, 0.6, 5.0])
def test_margins_agree_with_an_independent_solver(world, sample, p, box, radius):
    x, y = sample
    found = world.exact_margin(x, y, p, radius, box)
    for i in range(B):
        expected = smallest_over_the_ball(world, x[i], int(y[i]), p, radius, box)
        assert float(found[i]) == pytest.approx(expected, abs=1e-9)


def test_linf_margins_agree_with_every_corner(world, sample):
    x, y = sample
    corners = torch.tensor(list(itertools.product((-0.2, 0.2), repeat=D)), dtype=torch.float64)
    for i in range(B):
        logits = world.logits(x[i].double() + corners)
        own = logits[:, y[i]].clone()
        logits[:, y[i]] = -math.inf
        expected = (own - logits.amax(dim=1)).amin()
        found = world.exact_margin(x[i : i + 1], y[i : i + 1], math.inf, 0.2)
        assert float(found) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [None, BOX])
@pytest.mark.parametrize("radius", [0.0, 0.1, 0.6, 5.0])
def test_the_worst_case_is_allowed_and_attains_the_margin(world, sample, p, box, radius):
    x, y = sample
    worst = world.worst_case(x, y, p, radius, box)
    size = torch.linalg.vector_norm(worst - x.double(), ord=p, dim=1)
    assert (size <= radius + 1e-12).all()
    if box is not None:
        assert ((worst >= box[0] - 1e-12) & (worst <= box[1] + 1e-12)).all()
    attained = world.exact_margin(worst.clamp(*box) if box else worst, y, p, 0.0)
    torch.testing.assert_close(
        attained, world.exact_margin(x, y, p, radius, box), atol=1e-12, rtol=1e-12
    )


@pytest.mark.parametrize("p", NORMS)
@pytest.mark.parametrize("box", [None, BOX])
def test_no_sampled_perturbation_does_worse(world, sample, p, box):
    x, y = sample
    deltas = Keys.of(3, range(2000)).normal((D,)).double()
    deltas *= 0.5 / torch.linalg.vector_norm(deltas, ord=p, dim=1, keepdim=True)
    bound = world.exact_margin(x, y, p, 0.5, box)
    for i in range(B):
        points = x[i].double() + deltas
        points = points.clamp(*box) if box else points
        labels = y[i].expand(len(points))
        assert (world.exact_margin(points, labels, p, 0.0) >= bound[i] - 1e-12).all()


@pytest.mark.parametrize(("p", "q"), [(math.inf, 1), (2, 2), (1, math.inf)])
def test_two_classes_give_the_binary_formula(p, q):
    world = LinearWorld.make(4, 2, D)
    x, y = world.sample(5, B, mistakes=0.5)
    w, b = world.weight[1] - world.weight[0], world.bias[1] - world.bias[0]
    sign = 2.0 * y - 1
    expected = sign * (x.double() @ w + b) - 0.3 * torch.linalg.vector_norm(w, ord=q)
    torch.testing.assert_close(world.exact_margin(x, y, p, 0.3), expected)


@pytest.mark.parametrize("p", NORMS)
def test_a_box_that_is_out_of_reach_changes_nothing(world, sample, p):
    x, y = sample
    torch.testing.assert_close(
        world.exact_margin(x, y, p, 0.2, (-9.0, 9.0)), world.exact_margin(x, y, p, 0.2)
    )


@pytest.mark.parametrize("p", NORMS)
def test_margins_fall_with_the_radius_and_rise_with_the_box(world, sample, p):
    x, y = sample
    radii = [0.0, 0.1, 0.3, 0.9, 2.0]
    free = torch.stack([world.exact_margin(x, y, p, r) for r in radii])
    boxed = torch.stack([world.exact_margin(x, y, p, r, BOX) for r in radii])
    assert (free.diff(dim=0) < 0).all()
    assert (boxed.diff(dim=0) <= 1e-15).all()
    assert (boxed >= free - 1e-12).all()


@pytest.mark.parametrize("p", NORMS)
def test_the_smallest_radius_is_where_robustness_ends(world, sample, p):
    x, y = sample
    radius = world.smallest_radius(x, y, p)
    wrong = world.logits(x).argmax(dim=1) != y
    assert (radius[wrong] == 0).all()
    assert wrong.any()
    x, y, radius = x[~wrong], y[~wrong], radius[~wrong]
    assert world.robust(x, y, p, radius * (1 - 1e-9)).all()
    assert not world.robust(x, y, p, radius * (1 + 1e-9)).any()


def test_a_radius_per_example_is_that_of_each_alone(world, sample):
    x, y = sample
    radii = torch.linspace(0, 0.5, B)
    together = world.exact_margin(x, y, 2, radii)
    alone = [world.exact_margin(x[i : i + 1], y[i : i + 1], 2, radii[i]) for i in range(B)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_robust_accuracy_counts_robust_examples():
    world = LinearWorld(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 0.0]))
    x = torch.tensor([[0.1], [0.3], [0.5], [-0.2]])
    y = torch.tensor([0, 0, 0, 0])
    assert world.robust_accuracy(x, y, math.inf, 0.0) == 0.75
    assert world.robust_accuracy(x, y, math.inf, 0.2) == 0.5
    assert world.robust_accuracy(x, y, math.inf, 0.6) == 0.0


def test_the_module_is_the_world(world, sample):
    x, _ = sample
    logits = world.module(torch.float64)(x.double().view(B, 2, 2))
    torch.testing.assert_close(logits, world.logits(x))
    assert world.module()(x).dtype == torch.float32
    assert (world.module()[1].weight.double() == world.weight).all()
    assert (world.module()[1].bias.double() == world.bias).all()


def test_images_are_flattened_and_come_back_in_their_shape(world, sample):
    x, y = sample
    image = x.view(B, 1, 2, 2)
    assert (world.exact_margin(image, y, 2, 0.1) == world.exact_margin(x, y, 2, 0.1)).all()
    assert world.worst_case(image, y, 2, 0.1).shape == image.shape


def test_samples_are_keyed_and_stay_well_inside_the_box(world):
    x, y = world.sample(1, 400, inset=0.25)
    few, labels = world.sample(1, 3, inset=0.25)
    assert (x[:3] == few).all()
    assert (y[:3] == labels).all()
    assert x.min() >= 0.25
    assert x.max() < 0.75
    assert set(y.tolist()) <= set(range(K))
    assert not (world.sample(2, 3)[0] == few).any()


def test_the_share_of_mistakes_is_as_asked(world):
    count, share = 4000, 0.5
    x, y = world.sample(6, count, mistakes=share)
    wrong = float((world.logits(x).argmax(dim=1) != y).double().mean())
    expected = share * (1 - 1 / K)
    width = gaussian.ppf(1 - 5e-7) * math.sqrt(expected * (1 - expected) / count)
    assert abs(wrong - expected) < width  # fixed keys; chance of a false alarm 1e-6
    x, y = world.sample(6, 50, mistakes=0)
    assert (world.logits(x).argmax(dim=1) == y).all()


def test_the_centre_of_the_box_is_a_tie_of_all_classes(world):
    logits = world.logits(torch.full((1, D), 0.5))
    assert (logits - logits[:, :1]).abs().max() < 1e-6


@pytest.mark.parametrize("p", NORMS)
def test_directions_of_slope_zero_do_not_move(p):
    push = torch.tensor([[0.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    for room in (torch.full_like(push, 0.3), torch.full_like(push, math.inf)):
        moves = largest_moves(push, room, p, torch.full((2, 1), 5.0, dtype=torch.float64))
        assert not moves.isnan().any()
        assert (moves[push == 0] == 0).all()


def test_what_has_no_closed_form_or_does_not_fit_is_refused(world, sample):
    x, y = sample
    for argument, call in {
        "p": lambda: world.exact_margin(x, y, 3, 0.1),
        "radius": lambda: world.exact_margin(x, y, 2, -0.1),
        "x": lambda: world.exact_margin(x[:, :2], y, 2, 0.1),
        "weight, bias": lambda: LinearWorld(torch.zeros(K, D), torch.zeros(D)),
    }.items():
        with pytest.raises(InputError) as caught:
            call()
        assert caught.value.argument == argument
    with pytest.raises(InputError, match="leaves the box"):
        world.exact_margin(x + 1, y, 2, 0.1, BOX)
