from dataclasses import replace

import pytest
import torch

from certify.radius_cases import SIZES, case, exact_linear, network
from holdfast.attacks import PGD
from holdfast.certify import (
    CROWN,
    CrownIBP,
    Dual,
    Interval,
    Projected,
    capture,
    certified,
    margin_rows,
)
from holdfast.certify.radii.envelope_search import EnvelopeSearch
from holdfast.certify.radii.newton import Newton
from holdfast.certify.radii.radius import Bisection, Radii, limits
from holdfast.certify.radii.secant import Secant
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0

SEARCHES = (Bisection(), EnvelopeSearch(), Newton(), Secant())
LINEAR = (6, 3)
each_search = pytest.mark.parametrize("search", SEARCHES, ids=lambda each: type(each).__name__)
each_ball = pytest.mark.parametrize("kind", [Linf, L2, L1])


@each_search
@each_ball
def test_for_a_linear_model_it_is_the_exact_distance(search, kind):
    q = {Linf: 1, L2: 2, L1: torch.inf}[kind]
    graph, x, y = case(sizes=LINEAR)
    exact = exact_linear(x, y, LINEAR, 0, q)
    found = search.find(graph, x, y, kind(2.0, box=None))
    assert (found.radius < exact).all()
    inside = exact < 2
    assert inside.any()
    assert (exact[inside] - found.radius[inside] < 2e-4).all()
    assert (found.ceiling[inside] > exact[inside] - 1e-5).all()


@each_search
@each_ball
def test_the_radius_holds_and_the_ceiling_does_not(search, kind):
    graph, x, y = case(seed=2, count=7)
    threat = kind(1.0)
    found = search.find(graph, x, y, threat)
    spec = margin_rows(y, SIZES[-1])
    assert found.sound
    assert (found.radius > 0).all()
    if isinstance(search, Bisection | Newton):  # an envelope's radius may need a larger threat
        assert certified(Dual().bound(graph, x, threat.at(found.radius), spec)).all()
    fails = found.ceiling.isfinite()
    assert fails.any()
    there = Dual().bound(graph, x, threat.at(found.ceiling.where(fails, found.radius)), spec)
    assert not certified(there)[fails].any()
    assert (found.ceiling - found.radius)[fails].max() <= 1e-4 + 1e-9


@each_ball
def test_all_searches_agree(kind):
    graph, x, y = case(seed=2, count=7)
    found = [each.find(graph, x, y, kind(1.0)) for each in SEARCHES]
    for other in found[1:]:
        assert (other.radius >= found[0].radius - 2.1e-4).all()
        assert (other.radius <= 1.1 * found[0].radius + 2.1e-4).all()
    looks = [each.evaluations.double().mean() for each in found]
    assert looks[0] == 14
    assert looks[1] <= 14
    assert looks[3] < 0.75 * looks[0]


@each_search
def test_no_attack_succeeds_within_the_radius(search):
    graph, x, y = case(seed=2, count=7)
    model = network(seed=2)
    radius = search.find(graph, x, y, Linf(1.0)).radius
    keys = Keys.of(0, range(7))
    result = PGD(steps=20, restarts=2).run(model, x, y, Linf(radius), keys=keys)
    assert not result.success.any()
    assert PGD(steps=20).run(model, x, y, Linf(20 * radius), keys=keys).success.any()


@each_search
def test_an_example_does_not_depend_on_its_batch(search):
    graph, x, y = case(seed=4, count=7)
    method = Dual(schedule="plain")
    whole = replace(search, method=method).find(graph, x, y, Linf(0.5))
    parts = replace(search, method=method, block=3).find(graph, x.flip(0), y.flip(0), Linf(0.5))
    assert torch.equal(whole.radius, parts.radius.flip(0))
    assert torch.equal(whole.evaluations, parts.evaluations.flip(0))


@each_search
def test_misclassified_examples_are_not_searched(search):
    graph, x, y = case(seed=2, count=5, wrong=2)
    found = search.find(graph, x, y, Linf(0.5))
    assert found.radius[:2].tolist() == [0, 0]
    assert found.evaluations[:2].tolist() == [0, 0]
    assert (found.radius[2:] > 0).all()
    assert (search.find(graph, x, None, Linf(0.5)).radius > 0).all()


@each_search
def test_an_infinite_radius_asks_for_whatever_the_box_leaves(search):
    graph, x, y = case(seed=2, count=5)
    bounded, free = (search.find(graph, x, y, Linf(eps)).radius for eps in (1.0, "inf"))
    torch.testing.assert_close(bounded, free, rtol=0.01, atol=2e-4)
    open_ended = search.find(graph, x, y, L2("inf", box=None))
    assert (open_ended.radius > 0).all()
    assert open_ended.ceiling.isfinite().all()


@each_search
def test_what_is_not_a_number_has_radius_zero(search):
    _, x, y = case(seed=2, count=5)
    model = network(seed=2)
    graph = capture(model, SIZES[:1])
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    assert (search.find(graph, x, y, Linf(0.5)).radius == 0).all()


@each_search
def test_a_warm_start_is_looked_at_first(search):
    graph, x, y = case(seed=2, count=5)
    cold = search.find(graph, x, y, Linf(0.8))
    start = (cold.radius + cold.ceiling) / 2
    warm = search.find(graph, x, y, Linf(0.8), start=start)
    torch.testing.assert_close(warm.radius, cold.radius, rtol=0.01, atol=2e-4)
    with pytest.raises(InputError, match="start"):
        search.find(graph, x, y, Linf(0.8), start=start[:3])


@pytest.mark.parametrize("method", [Interval(), CROWN(), CrownIBP()])
def test_any_bound_will_do_for_bisection(method):
    graph, x, y = case(seed=2, count=5)
    found = Bisection(method=method).find(graph, x, y, Linf(0.5))
    spec = margin_rows(y, SIZES[-1])
    assert certified(method.bound(graph, x, Linf(found.radius), spec)).all()


def test_radii_of_one_per_example_bound_the_search():
    graph, x, y = case(seed=2, count=3)
    reach = torch.tensor([1e-3, 0.01, 1.0], dtype=torch.float64)
    for search in SEARCHES:
        found = search.find(graph, x, y, Linf(reach)).radius
        assert (found <= reach).all()
        assert (found[1:] > 0.9e-2).all()


def test_a_fast_method_gives_no_proof():
    graph, x, y = case(seed=2, count=3)
    assert not Secant(method=Dual(mode="fast")).find(graph, x, y, Linf(0.5)).sound


def test_the_share_of_examples_at_a_radius():
    radii = Radii(torch.tensor([0.0, 0.1, 0.2]), torch.ones(3), torch.ones(3), True)
    assert radii.accuracy(0.1) == pytest.approx(2 / 3)
    assert radii.accuracy(0.15) == pytest.approx(1 / 3)


def test_the_box_limits_what_is_worth_asking_for():
    x = torch.tensor([[0.25, 0.5]])
    assert limits(Linf("inf"), x).tolist() == [0.75]
    assert limits(L1("inf"), x).tolist() == [1.25]
    assert limits(L1(0.3), x).tolist() == [0.3]
    assert limits(L1("inf", box=None), x).tolist() == [torch.inf]


@each_search
def test_a_threat_without_a_radius_is_refused(search):
    graph, x, y = case(count=2)
    with pytest.raises(UnsupportedThreat, match="linf, l2 or l1"):
        search.find(graph, x, y, L0(2))


@each_search
def test_an_estimate_gives_no_radius(search):
    graph, x, y = case(count=3)
    method = replace(search, method=Projected(samples=3))
    if isinstance(search, Bisection):
        assert (method.find(graph, x, y, Linf(0.3)).radius == 0).all()
        return
    with pytest.raises(InputError, match="only estimates"):
        method.find(graph, x, y, Linf(0.3))
