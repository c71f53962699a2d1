import pytest
import torch

from certify.complete.test_branch_and_bound import Cube, chain
from certify.enumeration import minimum
from certify.nets import inputs
from holdfast.certify.complete.branch_and_bound import BranchAndBound, condensed
from holdfast.certify.complete.exploring import Network, Replay, listed
from holdfast.certify.complete.neuron_search import Search
from holdfast.certify.graphs.graph import capture


def search(**options):
    plain = {"batch": 8, "steps": 6, "root_steps": 12, "step_size": 0.5, "decay": 0.97}
    return Search(**{**plain, "candidates": 2, "most_nodes": 4000, **options})


def explored(seed, queries, radius=0.7, ends=lambda record: False, **options):
    net, x = capture(chain(seed), (3,)), inputs(1, (3,))
    program = condensed(net, x, Cube(radius))
    lower, upper = (x - radius).flatten(), (x + radius).flatten()
    propose = Replay(Network(net), queries, lambda points: points.clamp(lower, upper))
    found = search(**options).explore(program, program.fast(torch.float32), queries, propose, ends)
    return found, net, x


@pytest.mark.parametrize("seed", range(2))
def test_a_query_of_two_rows_asks_for_the_larger(seed):
    queries = listed([2, 1])
    queries[1, 0] = 0
    found, net, x = explored(seed, queries, target=float("inf"), tolerance=1e-7)
    for query, rows in enumerate(([0, 1], [0])):
        exact = minimum(net, x - 0.7, x + 0.7, rows=rows)
        assert found.lower[query] <= exact + 1e-7
        assert found.lower[query] == pytest.approx(exact, abs=2e-5)
        value = net.forward(found.best[query].unsqueeze(0))[0, rows].max()
        assert float(found.upper[query]) == pytest.approx(float(value.detach()), abs=1e-9)


@pytest.mark.slow
def test_bounds_rise_with_the_number_of_subdomains():
    last = torch.full((2,), -torch.inf, dtype=torch.float64)
    for most in (2, 8, 30, 90):
        found, _, _ = explored(3, listed([1, 1]), target=float("inf"), most_nodes=most)
        assert (found.lower >= last - 1e-12).all()
        assert (found.lower <= found.upper).all()
        last = found.lower


def test_it_ends_when_it_is_told():
    found, _, _ = explored(3, listed([1, 1]), target=float("inf"), ends=lambda record: True)
    assert found.nodes == 2
    assert not found.complete


def test_a_query_that_is_disproved_is_left_alone():
    found, net, x = explored(2, listed([1, 1]), target=0.0)
    truth = [minimum(net, x - 0.7, x + 0.7, rows=[row]) for row in (0, 1)]
    assert ((found.upper <= 0) == (torch.tensor(truth) <= 0)).all()
    assert ((found.lower > 0) == (torch.tensor(truth) > 0)).all()


def test_a_record_of_settings_is_what_the_method_passes_on():
    method = BranchAndBound(batch=3, steps=2)
    assert method.batch == 3
