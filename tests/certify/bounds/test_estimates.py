import math

import pytest
import torch
from torch import nn

from certify.nets import graph, inputs
from holdfast.certify import Dual, Interval, capture, margin_rows
from holdfast.certify.bounds.estimates import (
    EstimatedBounds,
    HighProbability,
    Projected,
    norms_needed,
    projected_bounds,
)
from holdfast.certify.bounds.estimators import geometric, largest_root, least_slack, normal_tail
from holdfast.certify.substitution.regions import around
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.core.results import Bounds
from holdfast.threats import L1, L2, Linf

ROWS = margin_rows(torch.tensor([0, 4, 2]), 5)
THREATS = {"linf": Linf(0.02), "l2": L2(0.1, box=None)}
each_threat = pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)


@each_threat
def test_an_estimate_says_that_it_is_one(threat):
    for method, failure in ((Projected(), None), (HighProbability(samples=20), 0.01)):
        found = method.bound(graph("conv"), inputs(3), threat, ROWS)
        assert isinstance(found, EstimatedBounds)
        assert isinstance(found, Bounds)
        assert (found.estimate, found.sound, found.exact) == (True, False, False)
        assert found.failure == failure
    shared = HighProbability(samples=20, fresh=False)
    assert shared.bound(graph("conv"), inputs(3), threat, ROWS).failure is None


@each_threat
def test_with_many_columns_it_is_the_dual_bound(threat):
    exact = Dual(schedule="plain").bound(graph("residual"), inputs(3), threat, ROWS).lower
    found = Projected(schedule="plain", samples=400).bound(
        graph("residual"), inputs(3), threat, ROWS
    )
    tolerance = 1e-8 if isinstance(threat, Linf) else 1e-5  # membership's counts twice for l2
    torch.testing.assert_close(found.lower, exact, atol=tolerance, rtol=0)


def test_errors_shrink_with_more_columns():
    """Three examples, twelve rows, eight sets of keys."""
    x, threat = inputs(3), THREATS["linf"]
    exact = Dual(schedule="plain").bound(graph("residual"), x, threat, ROWS).lower
    errors = []
    for samples in (5, 41):
        method = Projected(schedule="plain", samples=samples)
        found = torch.stack([
            method.bound(graph("residual"), x, threat, ROWS, keys=Keys.of(seed, range(3))).lower
            for seed in range(8)
        ])  # fmt: skip
        errors.append((found - exact).abs().median().item())
    assert errors[1] < 0.6 * errors[0]
    assert errors[1] < 0.1


@each_threat
@pytest.mark.slow
def test_boxes_hold_with_high_probability(threat):
    """Of 24 draws at failure 0.2 each, more than 12 would fail once in 3000 choices of keys."""
    x, captured = inputs(3), graph("residual")
    dual = Dual(schedule="plain")
    ((exact, _),) = dual.known(dual.posed(captured, x, threat, ROWS))
    method = HighProbability(schedule="plain", samples=20, repeats=2, failure=0.2)
    failures = 0
    for seed in range(8):
        problem = method.keyed(method.posed(captured, x, threat, ROWS), Keys.of(seed, range(3)))
        ((known, _),) = method.known(problem)
        held = torch.ones(3, dtype=torch.bool)
        for place in known.fixed.lines:
            before = captured.nodes[place].inputs[0]
            box, wanted = known.boxes[before], exact.boxes[before]
            held &= (box.lower <= wanted.lower + 1e-5).flatten(1).all(1)
            held &= (box.upper >= wanted.upper - 1e-5).flatten(1).all(1)
        failures += int((~held).sum())
    assert failures <= 12


def test_high_probability_is_looser_than_exact_and_the_median_is_not():
    x, threat = inputs(3), THREATS["linf"]
    exact = Dual(schedule="plain").bound(graph("residual"), x, threat, ROWS).lower
    high = HighProbability(schedule="plain", samples=30, repeats=2).bound(
        graph("residual"), x, threat, ROWS
    )
    assert (high.lower < exact + 1e-9).all()
    middle = Projected(schedule="plain", samples=10).bound(graph("residual"), x, threat, ROWS)
    assert (middle.lower > exact).any()


def test_intervals_limit_the_boxes():
    x, threat = inputs(3), THREATS["linf"]
    interval = Interval().bound(graph("residual"), x, threat, ROWS).lower
    found = HighProbability(samples=3, repeats=1).bound(graph("residual"), x, threat, ROWS)
    assert (found.lower >= interval - 1e-9).all()


def small_mnist():
    layers = [nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU()]
    layers += [nn.Flatten(), nn.Linear(1568, 100), nn.ReLU(), nn.Linear(100, 10)]
    return nn.Sequential(*layers)


def test_the_number_of_norms_is_that_of_the_thesis():
    """3136 + 2 x 1568 + 3 x 100 = 6572."""
    assert norms_needed(capture(small_mnist(), (1, 28, 28))) == 6572


def test_norms_are_corrected_as_in_the_example_of_the_thesis():
    """failure 0.01 over 6572 norms and ten repeats: each mean may fail with 0.262, t = 0.167."""
    captured, x = capture(small_mnist(), (1, 28, 28)), inputs(1, (1, 28, 28))
    region = around(Linf(0.1), x, rigorous=False)
    variables = HighProbability()._variables(captured, region, Keys.of(0, [0]))
    assert variables.columns == 2000
    table = inputs(1, (2000, 3)) - 0.5
    for found, plain, slack in (
        (variables.absolute, geometric, 0.1664),
        (variables.euclidean, largest_root, least_slack(normal_tail, 200, 0.26196)),
    ):
        wanted = plain(table, 10) / (1 - slack)
        torch.testing.assert_close(found(table), wanted, rtol=1e-4, atol=0)


def test_an_example_does_not_depend_on_its_neighbours():
    x, threat = inputs(3), Linf(torch.tensor([0.01, 0.03, 0.05]))
    order = torch.tensor([2, 0, 1])
    for method in (Projected(samples=6), HighProbability(samples=5, repeats=2)):
        together = method.bound(graph("residual"), x, threat, ROWS).lower
        mixed = method.bound(graph("residual"), x[order], threat.rows(order), ROWS[order]).lower
        torch.testing.assert_close(mixed, together[order], atol=1e-9, rtol=0)
        few = type(method)(samples=method.samples, memory=1)
        if isinstance(method, Projected) and not isinstance(method, HighProbability):
            alone = few.bound(graph("residual"), x, threat, ROWS).lower
            torch.testing.assert_close(alone, together, atol=1e-9, rtol=0)


def test_keys_decide():
    x, threat, method = inputs(3), THREATS["linf"], Projected(samples=5)
    by_content = method.bound(graph("residual"), x, threat, ROWS).lower
    first = method.bound(graph("residual"), x, threat, ROWS, keys=Keys.of(3, range(3))).lower
    again = method.bound(graph("residual"), x, threat, ROWS, keys=Keys.of(3, range(3))).lower
    assert torch.equal(first, again)
    assert (first != by_content).any()


def test_training_sees_the_same_numbers_and_a_gradient():
    first = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 8), nn.ReLU())
    model = nn.Sequential(first, nn.Linear(8, 5)).double()
    with torch.no_grad():
        for index, tensor in enumerate(model.parameters()):
            tensor.copy_(inputs(1, tuple(tensor.shape), seed=index)[0] - 0.5)
    x, keys, method = inputs(3, (6,)), Keys.of(0, range(3)), Projected(samples=3, mode="fast")
    found = projected_bounds(method, model, x, Linf(0.1), ROWS, keys=keys)
    wanted = method.bound(model, x, Linf(0.1), ROWS, keys=keys).lower
    torch.testing.assert_close(found.detach(), wanted, atol=1e-12, rtol=0)
    weight = model[0][0].weight
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    values = []
    for step in (1e-6, -1e-6):
        with torch.no_grad():
            weight[0, 1] += step
            values.append(method.bound(model, x, Linf(0.1), ROWS, keys=keys).lower.sum().item())
            weight[0, 1] -= step
    slope = (values[0] - values[1]) / 2e-6
    assert gradient[0, 1].item() == pytest.approx(slope, abs=1e-4)


def test_bad_input_is_named():
    x = inputs(3)
    with pytest.raises(UnsupportedThreat, match="L1"):
        Projected().bound(graph("conv"), x, L1(0.1), ROWS)
    with pytest.raises(InputError, match=r"^samples="):
        Projected(samples=0)
    with pytest.raises(InputError, match=r"^failure="):
        HighProbability(failure=0.0)
    broken = HighProbability(samples=1, repeats=1, failure=1e-9)
    with pytest.raises(InputError, match="samples or repeats"):
        broken.bound(graph("conv"), x, Linf(0.1), ROWS)
    assert math.isfinite(HighProbability(samples=1, repeats=40).failure)
