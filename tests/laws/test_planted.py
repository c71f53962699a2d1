"""No certificate denies a counterexample that is known: planted by training, hidden from attacks.

In every ball that holds the counterexample every lower bound is at most the margin there. The balls
shrink from the one that is asked for towards the counterexample, where all bounds become exact: so
an error of a bound shows, however loose the bound is on the whole ball.

Source: Zhou et al. 2025, arXiv:2412.03154.
"""

import typing
from dataclasses import dataclass, fields, replace
from functools import cache

import pytest
import torch

from benchmark.networks import Silent
from holdfast.attacks import PGD
from holdfast.benchmark.verify import Splitting, verify
from holdfast.certify import (
    BOUNDS,
    CROWN,
    PEC,
    SEARCHES,
    AlphaCrown,
    BranchAndBound,
    Case,
    Dual,
    EqualShares,
    NonUniform,
    Property,
    capture,
    certified,
    margin_rows,
)
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome, Verdict
from holdfast.threats import Linf
from holdfast.toys.planted import CLASSES, KINDS, Planting, train_planted

DEPLOYABLE = ("interval", "dual", "crown", "crown-ibp", "alpha-crown")
LIMITS = {"milp": {"seconds": 0.02}, "branch-and-bound": {"seconds": 0.1}}
DEAR = ("alpha-crown", "lp", *LIMITS)
RADII = {"mlp": 0.1, "smooth": 0.1}
NEAR = (0.5, 0.9, 0.99, 1 - 1e-5)
UNITS = Splitting(most_inputs=1)
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-3}
CHEAP = [(name, kind) for name in BOUNDS for kind in ("mlp", "smooth", "pooled")]
CHEAP = [(name, kind) for name, kind in CHEAP if kind == "mlp" or name not in DEAR]
CHEAP += [("lp", "smooth"), ("alpha-crown", "smooth")]
EACH_BOUND = pytest.mark.parametrize("name", BOUNDS)
EACH_KIND = pytest.mark.parametrize("kind", ["mlp", "smooth", "pooled"])
LARGE = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS]


@dataclass(frozen=True, eq=False)
class Planted:
    """A world, its graph, and the rows of the margins."""

    world: object
    graph: object
    rows: torch.Tensor
    exact: torch.Tensor

    @property
    def threat(self):
        return Linf(self.world.radius)


@cache
def planted(kind, large=False):
    """A quickly trained world of three counterexamples, or a large one of ten."""
    how = Planting(radius=RADII.get(kind, 0.05), steps=400 if large else 60)
    counts = {"planted": 10, "twins": 5} if large else {"planted": 3, "twins": 4}
    world = train_planted(kind, **counts, planting=how)
    rows = margin_rows(world.y, CLASSES).double()
    with torch.no_grad():
        logits = world.model(world.counterexamples)
    exact = torch.einsum("brk,bk->br", rows, logits)
    return Planted(world, capture(world.model, world.x.shape[1:]), rows, exact)


def settings(name, kind):
    """A method of the catalogue, and one for each other value of each of its choices."""
    method = BOUNDS[name].load()(**LIMITS.get(name, {}))
    found = [method]
    for field in fields(method):
        hint = typing.get_type_hints(type(method))[field.name]
        values = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        values = (False, True) if hint is bool else values
        found += [
            replace(method, **{field.name: value})
            for value in values
            if value != getattr(method, field.name) and (value != "deployed" or name in DEPLOYABLE)
        ]
    return [] if name == "milp" and kind == "smooth" else found


def denied(bounds, exact):
    """Which counterexamples a bound denies, (N,): a row above its value there, or a proof."""
    room = ROUNDING[bounds.lower.dtype]
    return ~(bounds.lower <= exact + room).all(dim=1) | certified(bounds)


def shrunk(case, share):
    """Centres that went a share of the way to the counterexamples, and the balls that hold them."""
    world = case.world
    x = torch.lerp(world.x, world.counterexamples, share)
    radius = (world.counterexamples - x).flatten(1).abs().amax(dim=1)
    return x, Linf(radius * (1 + 1e-9) + 1e-12)


def test_settings_name_every_choice_of_a_method():
    words = {(m.mode, m.schedule) for m in settings("crown", "mlp")}
    assert words >= {("fast", "cheap"), ("deployed", "cheap"), ("rigorous", "plain")}
    assert len(settings("milp", "mlp")) > 4


@EACH_KIND
def test_the_planted_points_are_counterexamples(kind):
    check_counterexamples(planted(kind))


def check_counterexamples(case):
    world = case.world
    assert (world.margins < 0).all()
    assert case.threat.contains(world.counterexamples, world.x).all()
    assert (world.distances <= world.radius).all()
    with torch.no_grad():
        assert torch.equal(world.model(world.x).argmax(1), world.y)


@pytest.mark.parametrize(("name", "kind"), CHEAP)
def test_no_bound_denies_a_counterexample(name, kind):
    check_bounds(planted(kind), name, kind, NEAR[-1:] if name in DEAR else NEAR)


def check_bounds(case, name, kind, near):
    asked = [(method, 0.0) for method in settings(name, kind)]
    for method, share in asked + [(method, share) for method, _ in asked[:1] for share in near]:
        x, threat = shrunk(case, share)
        bounds = method.bound(case.graph, x, threat if share else case.threat, case.rows)
        assert not denied(bounds, case.exact).any(), (method, share)


@pytest.mark.parametrize("name", DEPLOYABLE)
def test_nor_in_single_precision(name):
    case = planted("mlp")
    method = replace(BOUNDS[name].load()(), mode="fast")
    bounds = method.bound(case.graph, case.world.x.float(), case.threat, case.rows.float())
    assert bounds.lower.dtype == torch.float32
    assert not denied(bounds, case.exact).any()


@EACH_BOUND
def test_a_bound_half_a_logit_too_high_is_seen(name):
    case = planted("mlp")
    x, threat = shrunk(case, NEAR[-1])
    bounds = settings(name, "mlp")[0].bound(case.graph, x, threat, case.rows)
    assert not denied(bounds, case.exact).any()
    assert denied(replace(bounds, lower=bounds.lower + 0.5), case.exact).all()


def test_no_certified_radius_reaches_a_counterexample():
    check_radii(planted("mlp"), [Dual(), CROWN()])


def check_radii(case, methods):
    world, threat = case.world, Linf(4 * case.world.radius)
    for method in methods:
        for name in SEARCHES:
            search = SEARCHES[name].load()(method=method, precision=1e-3)
            assert (
                search.find(case.graph, world.x, world.y, threat).radius < world.distances
            ).all()
        for ball in (case.threat, threat):
            radius = PEC(method=method).radius(case.graph, world.x, ball, case.rows)
            assert (radius < world.distances).all()


@pytest.mark.parametrize("region", [NonUniform(steps=10), EqualShares()], ids=["free", "equal"])
def test_no_certified_region_holds_a_counterexample(region):
    world = planted("mlp").world
    found = region.region(planted("mlp").graph, world.x, world.y, Linf(4 * world.radius))
    moved = (world.counterexamples - world.x).abs()
    assert (moved > found.radii).flatten(1).any(dim=1).all()


def query(world, index):
    """Whether the label stays in the ball around an input, inside the box."""
    x = world.x[index].flatten()
    lower, upper = (x - world.radius).clamp(0, 1), (x + world.radius).clamp(0, 1)
    rows = margin_rows(world.y[index : index + 1], CLASSES)[0].double()
    cases = [Case(lower, upper, row.unsqueeze(0), torch.zeros(1).double()) for row in rows]
    return Property(len(x), CLASSES, tuple(cases))


@pytest.mark.parametrize("kind", ["mlp", "smooth", "pooled"])
@pytest.mark.parametrize("falsifier", [None, Silent()], ids=["attack", "no attack"])
def test_verify_finds_a_counterexample(kind, falsifier):
    case = planted(kind)
    check_verify(case, 0, {"falsifier": falsifier}, [Verdict.VIOLATED])
    if kind == "mlp":
        check_verify(case, 1, {"falsifier": falsifier, "splitting": UNITS}, [Verdict.VIOLATED])


@pytest.mark.parametrize("name", ["interval", "dual", "crown", "alpha-crown", "forward"])
def test_verify_with_another_bound_does_not_say_that_the_property_holds(name):
    how = {"bound": BOUNDS[name].load()(), "falsifier": Silent()}
    how["splitting"] = Splitting(most_boxes=64, batch=32)
    check_verify(planted("mlp"), 2, how, [Verdict.VIOLATED, Verdict.UNKNOWN])


def check_verify(case, index, how, verdicts):
    found = verify(case.graph, query(case.world, index), timeout=20.0, **how)
    assert found.verdict in verdicts
    if found.verdict is Verdict.VIOLATED:
        assert query(case.world, index).violated(found.counterexample[None], found.output[None])


@pytest.mark.parametrize("kind", ["mlp", "pooled"])
def test_branch_and_bound_finds_what_was_planted_and_certifies_twins(kind):
    case, world = planted(kind), planted(kind).world
    x, y = torch.cat([world.x, world.twins]), torch.cat([world.y, world.twin_labels])
    found = BranchAndBound(most_nodes=100).decide(case.graph, x, y, case.threat)
    check_decisions(case, found, x, y)
    assert (found.outcome[: len(world.x)] == int(Outcome.BROKEN)).all()
    assert (found.outcome == int(Outcome.CERTIFIED)).any()


def check_decisions(case, found, x, y):
    assert not (found.outcome[: len(case.world.x)] == int(Outcome.CERTIFIED)).any()
    broken = found.outcome == int(Outcome.BROKEN)
    with torch.no_grad():
        assert (case.world.model(found.witness[broken]).argmax(1) != y[broken]).all()
    assert case.threat.contains(found.witness[broken], x[broken]).all()


def attacked(case, attack):
    """What an attack finds of what was planted."""
    world = case.world
    keys = Keys.of(7, range(len(world.x)))
    return attack.run(FrozenModel(world.model), world.x, world.y, case.threat, keys=keys).success


def test_what_was_planted_is_hidden_from_descent():
    assert attacked(planted("pooled"), PGD(steps=40, restarts=5)).sum() <= 1


@pytest.mark.parametrize("kind", LARGE)
def test_large_sets_obey_the_same_laws(kind):
    case = planted(kind, large=True)
    world = case.world
    check_counterexamples(case)
    assert attacked(case, PGD(steps=100, restarts=10)).double().mean() <= 0.5
    for name in BOUNDS:
        check_bounds(case, name, kind, NEAR[1::2] if name in DEAR else NEAR)
    check_radii(case, [Dual(), CROWN(), AlphaCrown()])
    found = BranchAndBound(seconds=2.0).decide(case.graph, world.x, world.y, case.threat)
    check_decisions(case, found, world.x, world.y)
    for index in range(len(world.x)):
        query_ = {"falsifier": Silent(), "splitting": UNITS}
        check_verify(case, index, query_, [Verdict.VIOLATED, Verdict.TIMEOUT, Verdict.UNKNOWN])
