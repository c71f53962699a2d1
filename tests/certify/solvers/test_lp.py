import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from certify.nets import deep_graph, deep_net, graph, inputs, samples, small_graph, small_net
from certify.programming import hull, tiny, tiny_graph, triangle
from holdfast.certify import CROWN, Interval, margin_rows
from holdfast.certify.bounds.linear import CrownIBP, Dual
from holdfast.certify.solvers.highs import Solver, Status
from holdfast.certify.solvers.lp import LP
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.recipes import build
from holdfast.threats import L1, L2, Linf

NETS = ["conv", "pooled", "functional"]
PAIR = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])


def relu_boxes(found, x, threat, method=CROWN):
    """The boxes of what the ReLUs of a chain read, as the method finds them."""
    screen = method()
    with torch.no_grad():
        known, _ = next(iter(screen.known(screen.posed(found, x, threat, PAIR))))
    hidden = [node.inputs[0] for node in found.nodes if type(node.op).__name__ == "ReLU"]
    return [tuple(end[0] for end in known.boxes[place]) for place in hidden]


@pytest.mark.parametrize("boxes", ["interval", "parallel", "adaptive"])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_textbooks_programme_for_the_same_boxes(seed, boxes):
    net, x, threat = tiny(seed), inputs(1, (3,), seed), Linf(0.3, box=None)
    method = {"interval": CrownIBP, "parallel": Dual, "adaptive": CROWN}[boxes]
    lower = LP(boxes=boxes, plain=True).bound(tiny_graph(seed), x, threat, PAIR).lower[0]
    for row, found in zip(PAIR.double(), lower.tolist(), strict=True):
        wanted = triangle(net, relu_boxes(tiny_graph(seed), x, threat, method), row, *hull(x, 0.3))
        assert found == pytest.approx(wanted, abs=1e-8)


@pytest.mark.parametrize(("eps", "low"), [(0.1, 1.65), (0.3, 0.3), (0.5, -1.5)])
def test_golden_example_a(eps, low):
    """With one hidden layer the programme is at least the dual bound of the specification."""
    x = torch.tensor([[0.5, 0.5]])
    answers = LP(plain=True).solve(small_graph(), x, Linf(eps, box=None), PAIR)
    wanted = triangle(
        small_net(),
        relu_boxes(small_graph(), x.double(), Linf(eps, box=None)),
        PAIR[0].double(),
        *hull(x.double(), eps),
    )
    assert answers.bounds.lower[0, 0].item() == pytest.approx(wanted, abs=1e-8)
    assert answers.bounds.lower[0, 0].item() >= low - 3e-5


@pytest.mark.parametrize(("eps", "low"), [(0.05, -0.6), (0.1, -1.65), (0.2, -3.724286)])
def test_golden_example_b(eps, low):
    x, threat = torch.tensor([[0.6, 0.2]]), Linf(eps, box=None)
    found = LP(boxes="parallel", plain=True).bound(deep_graph(), x, threat, PAIR).lower
    boxes = relu_boxes(deep_graph(), x.double(), threat, Dual)
    wanted = triangle(deep_net(), boxes, PAIR[0].double(), *hull(x.double(), eps))
    assert found[0, 0].item() == pytest.approx(wanted, abs=1e-8)
    assert found[0, 0].item() >= low - 5e-5


@pytest.mark.parametrize("threat", [Linf(0.04), L1(0.5), Linf(0.04, box=None)], ids=str)
@pytest.mark.parametrize("name", NETS)
def test_samples_stay_above_and_crown_below(name, threat):
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5).double()
    found = LP(plain=True).solve(graph(name), x, threat, rows)
    crown = CROWN().bound(graph(name), x, threat, rows).lower
    open_ = crown <= 0
    assert (found.bounds.lower[open_] >= crown[open_] - 1e-5).all()
    points = torch.stack([threat.project(p, x) for p in samples(*threat.hull(x), 200)])
    with torch.no_grad():
        logits = graph(name).forward(points.flatten(0, 1)).view(200, 2, 5)
    assert (torch.einsum("brk,sbk->sbr", rows, logits) >= found.bounds.lower).all()
    assert (found.value >= found.bounds.lower).all()
    for row in range(4):
        assert threat.contains(found.witness[:, row], x).all()


@pytest.mark.parametrize("name", NETS)
def test_both_ways_to_write_units_that_are_on_agree(name):
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    first, second = (
        LP(plain=True, equalities=each).bound(graph(name), x, Linf(0.03), rows).lower
        for each in (False, True)
    )
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)


def test_the_proved_bound_is_next_to_the_solvers():
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    found = LP(plain=True).bound(graph("conv"), x, Linf(0.03), rows).lower
    tight = LP(plain=True).solve(graph("conv"), x, Linf(1e-9), rows)
    assert (tight.value - tight.bounds.lower < 1e-4).all()  # 1e-6 of tolerance, times the weights
    assert found.dtype == torch.float64


def test_a_solver_that_errs_does_not_make_the_bound_too_high(monkeypatch):
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    true = LP(plain=True).solve(graph("conv"), x, Linf(0.03), rows)
    honest = Solver.minimise

    def wrong(self, cost, *, stop=None):
        found = honest(self, cost, stop=stop)
        noise = torch.randn(len(found.duals), generator=torch.Generator().manual_seed(1)).double()
        return replace(found, objective=found.objective + 5, duals=1.1 * found.duals + 0.1 * noise)

    monkeypatch.setattr(Solver, "minimise", wrong)
    found = LP(plain=True).bound(graph("conv"), x, Linf(0.03), rows).lower
    assert (found <= true.bounds.lower + 1e-9).all()
    assert (found > true.bounds.lower - 50).all()
    screened = LP().bound(graph("conv"), x, Linf(0.03), rows).lower
    assert (screened >= CROWN().bound(graph("conv"), x, Linf(0.03), rows).lower - 1e-5).all()


def test_a_linear_model_is_exact():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4)).double()
    x, rows = inputs(3, (2, 3, 2)), margin_rows(torch.tensor([0, 3, 1]), 4).double()
    weight = rows @ model[1].weight
    centre = (rows @ model(x).unsqueeze(2)).squeeze(2)
    for threat, order in ((Linf(0.07, box=None), 1), (L1(0.07, box=None), math.inf)):
        drop = (0.07 + 1e-6) * torch.linalg.vector_norm(weight, ord=order, dim=2)
        found = LP(plain=True).bound(model, x, threat, rows).lower
        torch.testing.assert_close(found, centre - drop, atol=1e-8, rtol=0)
        assert (found <= centre - drop).all()


def test_rows_that_a_cheaper_bound_proves_are_not_solved():
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    crown = CROWN().bound(graph("conv"), x, Linf(0.02), rows).lower
    found = LP().solve(graph("conv"), x, Linf(0.02), rows)
    assert torch.equal(found.status == Status.SCREENED, crown > 0)
    assert 0 < int((crown > 0).sum()) < crown.numel()
    torch.testing.assert_close(found.bounds.lower[crown > 0], crown[crown > 0], atol=1e-5, rtol=0)
    assert (found.bounds.sound, found.bounds.exact) == (True, False)


def test_boxes_by_intervals_are_no_better():
    x, rows = inputs(2), margin_rows(torch.tensor([0, 4]), 5)
    tight = LP(plain=True).bound(graph("conv"), x, Linf(0.03), rows).lower
    loose = LP(plain=True, boxes="interval").bound(graph("conv"), x, Linf(0.03), rows).lower
    assert (tight >= loose - 1e-8).all()
    assert (tight > loose + 1e-3).any()


@pytest.mark.parametrize("threat", [Linf, L1])
def test_an_example_does_not_depend_on_its_neighbours(threat):
    x, rows = inputs(3), margin_rows(torch.tensor([0, 4, 2]), 5)
    radius = torch.tensor([0.02, 0.05, 0.03])
    together = LP().solve(graph("conv"), x, threat(radius), rows)
    order = torch.tensor([2, 0, 1])
    mixed = LP().solve(graph("conv"), x[order], threat(radius[order]), rows[order])
    assert torch.equal(mixed.bounds.lower, together.bounds.lower[order])
    assert torch.equal(mixed.status, together.status[order])
    torch.testing.assert_close(mixed.witness, together.witness[order])


def test_smooth_units_lie_between_their_lines():
    net = nn.Sequential(nn.Linear(3, 6), nn.Sigmoid(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 2))
    x, spec = inputs(2, (3,)), PAIR.double()
    found = LP(plain=True).bound(net, x, Linf(0.3), spec).lower
    crown = CROWN().bound(net, x, Linf(0.3), spec).lower
    assert (found >= crown - 1e-5).all()
    points = samples(*Linf(0.3).hull(x), 500)
    with torch.no_grad():
        values = net.double()(points) @ spec.T
    assert (values >= found).all()


def test_time_that_is_too_short_leaves_a_true_bound():
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    hurried = LP(seconds=1e-9, plain=True).solve(graph("residual"), x, Linf(0.05), rows)
    crown = CROWN().bound(graph("residual"), x, Linf(0.05), rows).lower
    assert (hurried.status == Status.TIMEOUT).all()
    assert (hurried.bounds.lower <= hurried.value).all()
    kept = LP(seconds=1e-9).bound(graph("residual"), x, Linf(0.05), rows).lower
    assert (kept >= crown - 1e-5).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_network_with_a_broken_weight_proves_nothing(bad):
    model = small_net()
    with torch.no_grad():
        model[0].weight[0, 0] = bad
    for plain in (False, True):
        found = LP(plain=plain).solve(model, torch.tensor([[0.5, 0.5]]), Linf(0.01), PAIR)
        assert not (found.bounds.lower > 0).any()
        assert (found.status == Status.FAILED).all()


def test_bad_input_is_named():
    x = inputs(1)
    with pytest.raises(UnsupportedThreat, match="L2 is no polytope"):
        LP().bound(graph("conv"), x, L2(1e-4), torch.eye(5))
    with pytest.raises(UnsupportedThreat, match="L1 is no polytope"):
        LP().bound(graph("conv"), x, L1(torch.full((2, 7, 6), 0.1)), torch.eye(5))
    with pytest.raises(InputError, match=r"^spec="):
        LP().bound(graph("conv"), x, Linf(0.1), torch.eye(4))
    with pytest.raises(InputError, match=r"^seconds="):
        LP(seconds=0)
    assert build(LP, {"boxes": "interval"}) == LP(boxes="interval")


def test_one_radius_per_feature_is_a_box():
    x, rows = inputs(1), margin_rows(torch.tensor([0]), 5)
    radius = torch.linspace(0.0, 0.05, 84).view(2, 7, 6)
    found = LP(plain=True).bound(graph("conv"), x, Linf(radius), rows).lower
    whole = LP(plain=True).bound(graph("conv"), x, Linf(0.05), rows).lower
    assert (found > whole + 1e-3).all()
    assert (found > Interval().bound(graph("conv"), x, Linf(radius), rows).lower).all()
