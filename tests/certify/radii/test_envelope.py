from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import nn

from holdfast.certify import CROWN, CrownIBP, Dual, Interval, capture, certified, margin_rows
from holdfast.certify.complete.branch_and_bound import BranchAndBound
from holdfast.certify.radii.envelope import PEC, rounded_down
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.results import Outcome
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0

PLAIN = Dual(schedule="plain")
A = [
    ([[1, 2], [-1, 1], [2, -1]], [0, 0.5, -1]),
    ([[1, -1, 1], [-1, 2, 1]], [0.25, -0.5]),
]
B = [([[1, -1], [2, 1]], [0, -1]), ([[1, -1], [-1, 2]], [0.5, 0]), ([[2, -1], [-1, 1]], [0, 0.25])]
TWO = margin_rows(torch.tensor([0]), 2)
# eps, U, p, distance, radius
GOLDEN_A = [
    (Linf, 0.1, (5, 1), -0.75, 0.375, 0.1),
    (Linf, 0.3, (4.75, 1.25), -0.9, 0.35, 0.3),
    (Linf, 0.5, (4.25, 1.75), -1.5, 0.25, 0.25),
    (Linf, 0.8, (3.59375, 1.28125), -2.4, 0.007692, 0.007692),
    (L2, 0.1, (5, 1), -0.75, 0.441261, 0.1),
    (L2, 0.5, (4.560660, 1.439340), -1.060660, 0.405516, 0.405516),
    (L2, 0.8, (4.001438, 1.514138), -1.697056, 0.247931, 0.247931),
]
GOLDEN_B = [(0.05, 0.021429), (0.1, 0.013158), (0.2, -0.071563)]


def net(layers):
    """A float64 ReLU network of these weights and biases."""
    made = []
    for weight, bias in layers:
        each = nn.Linear(len(weight[0]), len(weight)).double()
        each.weight.data = torch.tensor(weight, dtype=torch.float64)
        each.bias.data = torch.tensor(bias, dtype=torch.float64)
        made += [each, nn.ReLU()]
    return nn.Sequential(*made[:-1])


def point(*values):
    return torch.tensor([values], dtype=torch.float64)


@cache
def captured(sizes, seed):
    return capture(drawn(sizes, seed), sizes[:1])


def drawn(sizes, seed=0):
    """A network with random weights of a fixed size."""
    generator = torch.Generator().manual_seed(seed)

    return net(
        [
            (
                torch.randn(out, inside, generator=generator).tolist(),
                (0.3 * torch.randn(out, generator=generator)).tolist(),
            )
            for inside, out in pairwise(sizes)
        ]
    )


def case(seed=0, count=4, sizes=(6, 8, 7, 3)):
    """A network, inputs in [0, 1], and the rows of its own predictions."""
    graph = captured(sizes, seed)
    x = torch.rand(count, sizes[0], generator=torch.Generator().manual_seed(seed + 1)).double()
    return graph, x, margin_rows(graph.forward(x).argmax(1), sizes[-1])


@pytest.mark.parametrize(("kind", "eps", "u", "p", "far", "radius"), GOLDEN_A)
def test_golden_example_a(kind, eps, u, p, far, radius):
    pec = PEC(method=PLAIN, intervals=False)
    found = pec.envelope(net(A), point(0.5, 0.5), kind(eps, box=None), TWO)
    assert found.forms.coefficients.flatten().tolist() == pytest.approx(u, abs=2e-5)
    assert float(found.forms.constants) == pytest.approx(p, abs=2e-5)
    assert float(found.distances()) == pytest.approx(far, abs=2e-6)
    assert radius - 4e-6 < float(found.radius()) <= radius + 1e-6


@pytest.mark.parametrize(("eps", "signed"), GOLDEN_B)
def test_golden_example_b(eps, signed):
    pec = PEC(method=PLAIN, intervals=False)
    found = pec.envelope(net(B), point(0.6, 0.2), Linf(eps, box=None), TWO)
    assert float(found.signed()) == pytest.approx(signed, abs=2e-5)
    assert float(found.radius()) == pytest.approx(max(0.0, min(eps, signed)), abs=4e-6)


@pytest.mark.parametrize(("kind", "q"), [(Linf, 1), (L2, 2), (L1, torch.inf)])
@pytest.mark.parametrize("eps", [0.01, 0.5, 9.0])
def test_for_a_linear_model_it_is_the_exact_distance(kind, q, eps):
    model, x, spec = case(sizes=(6, 3))
    rows = spec.double() @ drawn((6, 3))[0].weight.detach()
    margins = torch.einsum("brk,bk->br", spec.double(), model.forward(x))
    exact = (margins / torch.linalg.vector_norm(rows, ord=q, dim=2)).amin(1)
    found = PEC(method=Dual()).radius(model, x, kind(eps, box=None), spec)
    want = exact.clamp(max=eps)
    assert (found <= want).all()
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1.1e-6)


@pytest.mark.parametrize("method", [Dual(), CROWN(), CrownIBP()])
@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_the_prediction_is_constant_within_the_radius(method, kind):
    model, x, spec = case(seed=3, count=11)
    eps = 0.05 if kind is Linf else 0.1
    radius = PEC(method=method, intervals=False).radius(model, x, kind(eps), spec)
    assert (radius > 0).any()
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        step = torch.randn(x.shape, generator=generator).double()
        step = step * torch.rand(x.shape, generator=generator) ** 3
        move = step / torch.linalg.vector_norm(step, ord=kind.p, dim=1, keepdim=True)
        near = (x + radius.unsqueeze(1) * move).clamp(0, 1)
        assert (torch.einsum("brk,bk->br", spec.double(), model.forward(near)) > 0).all()


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_the_whole_radius_is_certified_where_the_bound_itself_certifies_it(kind):
    model, x, spec = case(seed=4, count=13)
    seen = set()
    for eps in (0.02, 0.1, 0.3):
        found = PEC(method=PLAIN, intervals=False).radius(model, x, kind(eps), spec)
        held = certified(PLAIN.bound(model, x, kind(eps), spec))
        assert torch.equal(found == eps, held)
        seen |= set(held.tolist())
    assert seen == {True, False}


@pytest.mark.parametrize("kind", [Linf, L2, L1])
def test_every_radius_it_gives_holds_when_it_is_looked_at(kind):
    model, x, spec = case(seed=5, count=9)
    eps = 0.1 if kind is Linf else 0.4
    envelope = PEC(method=CROWN(), intervals=False).envelope(model, x, kind(eps), spec)
    radius = envelope.radius()
    there = radius > 0
    assert ((radius > 0) & (radius < eps)).any()
    assert envelope.holds(radius)[there].all()
    assert (envelope.lower(radius)[there] > 0).all()
    further = (1.001 * radius + 4e-6).clamp(max=eps)
    beyond = there & (further < eps)
    assert not envelope.holds(further)[beyond].any()


@pytest.mark.parametrize("kind", [Linf, L2])
def test_an_exact_verifier_agrees_with_every_radius(kind):
    """Lemma 3.1: the radius is at most the true robust radius, and not everything is."""
    model, x, spec = case(seed=5, count=3)
    y = model.forward(x).argmax(1)
    radius = PEC(method=CROWN(), intervals=False).radius(model, x, kind(0.1), spec)
    exact = BranchAndBound(most_nodes=100, narrow_steps=5)
    assert (exact.decide(model, x, y, kind(radius)).outcome == Outcome.CERTIFIED).all()
    assert (exact.decide(model, x, y, kind(8 * radius)).outcome == Outcome.BROKEN).any()


def test_the_distance_may_rise_with_the_radius_of_the_budget():
    """Relaxations of nested intervals are not nested; the bound falls at every step yet."""
    radius, rises = torch.linspace(0.005, 1, 150).double(), 0
    for seed in range(3):
        graph, x, _ = case(seed, 1, (3, 10, 10, 2))
        x, y = x.expand(150, -1), graph.forward(x).argmax(1).expand(150)
        threat = Linf(radius, box=None)
        found = PEC(method=PLAIN, intervals=False).envelope(graph, x, threat, margin_rows(y, 2))
        rises += int((found.signed()[:, 0].diff() > 1e-6).sum())
        assert (found.lower(radius).flatten().diff() < 0).all()
    assert 0 < rises < 0.25 * 3 * 149


def test_a_box_makes_the_radius_larger():
    model, x, spec = case(seed=5, count=9)
    x = x.round()
    for kind in (Linf, L2, L1):
        bare = PEC(method=Dual()).radius(model, x, kind(0.4, box=None), spec)
        boxed = PEC(method=Dual()).radius(model, x, kind(0.4), spec)
        assert (boxed >= bare - 1e-9).all()
        assert (boxed > bare).any()


def test_misclassified_examples_have_radius_zero():
    model, x, spec = case(seed=6)
    assert (PEC(method=Dual()).radius(model, x, Linf(0.1), -spec) == 0).all()


def test_intervals_may_prove_rows():
    model, x, spec = case(seed=7, count=13)
    without = PEC(method=CrownIBP(), intervals=False).envelope(model, x, Linf(0.02), spec)
    both = PEC(method=CrownIBP()).envelope(model, x, Linf(0.02), spec)
    proved = Interval().bound(model, x, Linf(0.02), spec).lower > 0
    assert torch.equal(both.proved, proved)
    assert proved.any()
    assert (both.radius() >= without.radius()).all()
    assert (both.radius()[proved.all(dim=1)] == 0.02).all()


def test_radii_of_one_per_example_and_of_one_per_feature():
    model, x, spec = case(seed=8)
    eps = torch.tensor([0.01, 0.1, 0.2, 0.4], dtype=torch.float64)
    found = PEC(method=Dual()).radius(model, x, Linf(eps), spec)
    for row in range(4):
        alone = PEC(method=Dual()).radius(model, x[[row]], Linf(float(eps[row])), spec[[row]])
        assert torch.equal(found[[row]], alone)
    for kind in (Linf, L2, L1):
        weights = torch.full((1, 6), 0.3, dtype=torch.float64)
        factor = PEC(method=Dual()).radius(model, x, kind(weights), spec)
        same = PEC(method=Dual()).radius(model, x, kind(0.3), spec) / 0.3
        torch.testing.assert_close(factor, same, rtol=1e-3, atol=5e-5)
        weights = weights * torch.tensor([0.0, 1, 0.5, 1, 2, 1])
        smaller = PEC(method=Dual()).envelope(model, x, kind(weights), spec)
        assert smaller.holds(smaller.radius())[smaller.radius() > 0].all()


def test_an_example_does_not_depend_on_its_batch():
    model, x, spec = case(seed=9, count=7)
    pec = PEC(method=CROWN(schedule="plain"))
    for kind in (Linf, L2):
        whole = pec.radius(model, x, kind(0.3), spec)
        turned = pec.radius(model, x.flip(0), kind(0.3), spec.flip(0)).flip(0)
        alone = [pec.radius(model, x[[i]], kind(0.3), spec[[i]]) for i in range(7)]
        assert torch.equal(whole, turned)
        assert torch.equal(whole, torch.cat(alone))


def test_what_is_not_a_number_proves_nothing():
    _, x, spec = case(seed=10)
    model = drawn((6, 8, 7, 3), 10)
    graph = capture(model, (6,))
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    found = PEC(method=Dual(), intervals=False).radius(graph, x, L2(0.01), spec)
    assert (found == 0).all()


def test_fast_mode_works_in_the_dtype_of_the_inputs():
    model, x, spec = case(seed=3, count=5)
    fast = PEC(method=Dual(mode="fast")).radius(model, x.float(), Linf(0.2), spec)
    exact = PEC(method=Dual()).radius(model, x, Linf(0.2), spec)
    assert fast.dtype == torch.float32
    torch.testing.assert_close(fast.double(), exact, rtol=1e-3, atol=1e-5)


def test_a_threat_without_a_norm_is_refused():
    model, x, spec = case()
    with pytest.raises(UnsupportedThreat, match="linf, l2 or l1"):
        PEC(method=Dual()).radius(model, x, L0(2), spec)


def test_rounding_down_never_goes_up():
    exact = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = rounded_down(exact)
    assert (found <= exact).all()
    assert (found >= exact * (1 - 2**-23)).all()
    assert torch.equal(found, found.float().double())
    assert torch.equal(rounded_down(found), found)
