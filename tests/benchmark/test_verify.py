import pytest
import torch

from benchmark.networks import Silent, below, case, mlp, tent
from holdfast.benchmark.verify import Splitting, verify
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.formats.properties import Property
from holdfast.core.errors import InputError
from holdfast.core.results import Bounds, Verdict

HOLDS, VIOLATED = Verdict.HOLDS, Verdict.VIOLATED
UNITS = Splitting(most_inputs=1)


def minimum(graph, size, row):
    """The least of an output over a fine grid of the box, and the spacing."""
    axes = [torch.linspace(-size, size, 41, dtype=torch.float64)] * graph.input_shape[0]
    return float(graph.forward(torch.cartesian_prod(*axes))[:, row].detach().min())


@pytest.mark.parametrize("falsifier", [None, Silent()])
@pytest.mark.parametrize("how", [{}, {"bound": Interval()}, {"splitting": UNITS}])
def test_an_answer_known_in_closed_form(falsifier, how):
    problem = Property(2, 2, (case([0.5, -1.0], [1.0, 1.0], [[0.0, 1.0]], [0.49]),))
    result = verify(tent(), problem, timeout=60, falsifier=falsifier, **how)  # |x_0| + |x_1| >= 0.5
    assert (result.verdict, result.method, result.proved) == (HOLDS, "bound", True)
    problem = Property(2, 2, (case([0.5, -1.0], [1.0, 1.0], [[0.0, 1.0]], [0.51]),))
    result = verify(tent(), problem, timeout=60, falsifier=falsifier, **how)
    assert (result.verdict, result.proved) == (VIOLATED, True)
    assert bool(problem.violated(result.counterexample[None], result.output[None]))
    assert torch.equal(tent().forward(result.counterexample[None])[0], result.output)


@pytest.mark.parametrize("splitting", [Splitting(), UNITS])
@pytest.mark.parametrize("seed", range(3))
def test_limits_around_the_minimum_of_a_random_network(seed, splitting):
    graph, how = mlp(seed), {"timeout": 60, "falsifier": Silent(), "splitting": splitting}
    least = minimum(graph, 0.4, 1)
    found = verify(graph, below(least + 1e-6, inputs=3, size=0.4), **how)
    assert found.verdict is VIOLATED
    safe = verify(graph, below(least - 0.05, inputs=3, size=0.4), **how)
    assert (safe.verdict, safe.proved) == (HOLDS, True)
    assert safe.lower > 0


def test_planted_counterexamples_are_never_proved_away():
    for seed in range(3):
        graph = mlp(seed)
        x = (torch.rand(1, 3, generator=torch.Generator().manual_seed(seed)) - 0.5).double()
        y = graph.forward(x)[0]
        rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.5, -2.0]]).double()
        limits = rows @ y + 1e-9
        planted = case([-0.5] * 3, [0.5] * 3, rows.tolist(), limits.tolist())
        for inputs in (1, 9):
            few = Splitting(most_boxes=300, batch=64, most_inputs=inputs)
            result = verify(graph, Property(3, 2, (planted,)), timeout=60, splitting=few)
            assert result.verdict in (VIOLATED, Verdict.UNKNOWN)


def test_every_case_must_be_excluded():
    safe = case([0.5, 0.5], [1.0, 1.0], [[0.0, 1.0]], [0.9])
    tip = case([-1.0, -1.0], [1.0, 1.0], [[1.0, 0.0], [0.0, -1.0]], [0.01, -0.5])
    both = verify(tent(), Property(2, 2, (safe, tip)), timeout=60, falsifier=Silent())
    assert both.verdict is VIOLATED
    assert bool(tip.inside(both.counterexample[None]))
    shared = case([0.5, 0.5], [1.0, 1.0], [[-1.0, 0.0]], [-0.99])
    result = verify(tent(), Property(2, 2, (safe, shared)), timeout=60, falsifier=Silent())
    assert result.verdict is VIOLATED
    assert verify(tent(), Property(2, 2, (safe,)), timeout=60).verdict is HOLDS


def test_a_property_without_cases_holds():
    assert verify(tent(), Property(2, 2, ()), timeout=1).verdict is HOLDS


def test_a_tie_is_violated_without_a_proof_or_stays_unknown():
    point = case([0.3, 0.2], [0.3, 0.2], [[1.0, 0.0]], [0.3])
    result = verify(tent(), Property(2, 2, (point,)), timeout=60)
    assert (result.verdict, result.proved) == (VIOLATED, False)  # replayed, but within rounding
    almost = case([0.3, 0.2], [0.3, 0.2], [[1.0, 0.0]], [0.3 - 6e-17])
    for how in (Splitting(), UNITS):
        result = verify(tent(), Property(2, 2, (almost,)), timeout=60, splitting=how)
        assert result.verdict is Verdict.UNKNOWN


def test_more_inputs_than_may_be_cut_leave_the_signs_of_units():
    graph = mlp(1)
    problem = below(minimum(graph, 0.4, 1) - 0.1, inputs=3, size=0.4)
    few = Splitting(most_inputs=2)
    assert verify(graph, problem, timeout=60, splitting=few).verdict is HOLDS
    result = verify(graph, problem, timeout=60, splitting=few, bound=Interval())
    assert (result.verdict, result.boxes) == (Verdict.UNKNOWN, 1)


def test_a_bound_of_the_whole_box_spares_the_attack():
    class Loud:
        def falsify(self, graph, cases, *, seed):
            raise AssertionError

    problem = below(-99.0, inputs=3)
    assert verify(mlp(), problem, timeout=60, falsifier=Loud(), splitting=UNITS).verdict is HOLDS


class Claim:
    """A bound that says a number of everything."""

    def __init__(self, value, sound=True):
        self.value, self.sound = value, sound

    def bound(self, model, x, threat, spec):
        lower = torch.full((len(x), len(spec)), self.value, dtype=torch.float64)
        return Bounds(lower, None, sound=self.sound, exact=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_only_a_finite_positive_bound_proves(value):
    few = Splitting(most_boxes=9)
    result = verify(tent(), below(-1.0), timeout=60, bound=Claim(value), splitting=few)
    assert (result.verdict, result.proved) == (Verdict.UNKNOWN, False)


def test_what_an_unsound_bound_says_is_no_proof():
    result = verify(tent(), below(-1.0), timeout=60, bound=Claim(1.0, sound=False))
    assert (result.verdict, result.proved) == (HOLDS, False)
    fast = verify(tent(), below(-1.0), timeout=60, bound=Interval(mode="fast"))
    assert (fast.verdict, fast.proved) == (HOLDS, False)


def test_it_stops_in_time():
    problem = below(-999.0, inputs=3)
    result = verify(mlp(), problem, timeout=1e-9, bound=Claim(-1.0), falsifier=Silent())
    assert result.verdict is Verdict.TIMEOUT
    with pytest.raises(InputError, match="timeout"):
        verify(tent(), below(0.0), timeout=0.0)


def test_a_network_of_another_size_is_refused():
    with pytest.raises(InputError, match="inputs"):
        verify(mlp(), below(0.0), timeout=1)


@pytest.mark.parametrize("name", ["nano", "tiny", "small"])
def test_small_files_of_the_competition_hold(name, data_dir):
    pytest.importorskip("onnx")
    from holdfast.certify.formats.onnx_reader import read_onnx
    from holdfast.certify.formats.vnnlib import read_vnnlib

    path = data_dir / "vnncomp2021" / "test" / f"test_{name}"
    graph = read_onnx(path.with_suffix(".onnx"))
    assert verify(graph, read_vnnlib(path.with_suffix(".vnnlib")), timeout=60).proved
