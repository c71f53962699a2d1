import pytest
import torch

from holdfast.measures.queries import Queries
from holdfast.reproduce.square_seeds import LINES, PUBLISHED, REPRODUCTION, named, over_seeds

RIGHT = torch.tensor([True, True, False])


def test_published_figures_are_those_of_the_table():
    line = PUBLISHED["robust MNIST l2 2"]
    assert (line["robust_accuracy"], line["robust_accuracy_spread"]) == (0.16, 0.014)
    assert (line["mean_queries"], line["median_queries_spread"]) == (1454, 78)


def test_mean_and_spread_over_seeds():
    one = Queries(RIGHT, torch.tensor([True, True, False]), torch.tensor([4, 8, 0]))
    two = Queries(RIGHT, torch.tensor([True, False, False]), torch.tensor([2, 9, 0]))
    found = over_seeds({named(LINES[0], 0): one, named(LINES[0], 1): two}, {})[LINES[0]]
    assert (found["mean_queries"], found["mean_queries_spread"]) == (4, 2)
    assert (found["failure_rate"], found["failure_rate_spread"]) == (0.25, 0.25)
    assert found["robust_accuracy"] == pytest.approx(1 / 6)


@pytest.mark.slow
def test_seeds_differ_and_repeat(quickly):
    finding, _ = quickly("square-seeds")
    again, _ = quickly("square-seeds")
    other, _ = quickly("square-seeds", seed=1)
    line = LINES[1]
    first, second = (finding.outcomes[named(line, seed)] for seed in (0, 1))
    assert torch.equal(first.queries, again.outcomes[named(line, 0)].queries)
    assert not torch.equal(first.queries, second.queries)
    assert torch.equal(second.queries, other.outcomes[named(line, 0)].queries)


def test_the_claims_bound_the_spread():
    steady = {line: {"failure_rate_spread": 0.0, "robust_accuracy_spread": 0.0} for line in LINES}
    shaky = {line: {"failure_rate_spread": 0.1, "robust_accuracy_spread": 0.1} for line in LINES}
    assert all(claim.judge(steady) for claim in REPRODUCTION.claims)
    assert not any(claim.judge(shaky) for claim in REPRODUCTION.claims)
