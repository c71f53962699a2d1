"""The answer of several runs does not depend on the order in which they end."""

import itertools

import torch

from holdfast.attacks.findings import CLEAN, Findings

# One example, three runs: margins at two iterates each; run 1 succeeds, so does run 2.
ITERATES = [(0, 0.4), (0, 0.3), (1, 0.5), (1, -0.1), (2, 0.2), (2, -0.9)]


def record(found, example, run, point, margin, loss):
    found.record(example, run, ~(margin > 0), point, margin, margin, loss)


def replay(order):
    found = Findings(torch.zeros(1, 2), torch.tensor([0.6]), torch.tensor([1.0]), runs=3)
    example = torch.tensor([0])
    for place in order:
        run, margin = ITERATES[place]
        point = torch.full((1, 2), float(place + 1))
        record(
            found,
            example,
            torch.tensor([run]),
            point,
            torch.tensor([margin]),
            torch.tensor([-margin]),
        )
    for run in range(3):
        steps = torch.tensor([run + 2])
        found.end(example, torch.tensor([run]), steps, steps)
    return found


def test_answer_is_that_of_the_first_run_that_succeeds_in_any_order():
    # iterates of one run come in their order; runs may interleave in any way
    orders = [
        o
        for o in itertools.permutations(range(6))
        if all(o.index(a) < o.index(a + 1) for a in (0, 2, 4))
    ]
    assert len(orders) == 90
    for order in orders:
        found = replay(order)
        assert int(found.winner[0]) == 1, order
        assert found.x_adv[0].tolist() == [4.0, 4.0], order
        assert float(found.margin[0]) == torch.tensor(-0.1)
        assert [int(p) for p in found.passes(torch.tensor([0]))] == [5, 5]


def test_candidates_of_one_example_in_one_batch_are_ranked():
    found = Findings(torch.zeros(2, 1), torch.tensor([1.0, 1.0]), torch.zeros(2), runs=4)
    record(
        found,
        torch.tensor([1, 0, 1, 1]),
        torch.tensor([3, 0, 2, 0]),
        torch.tensor([[30.0], [7.0], [20.0], [10.0]]),
        torch.tensor([-5.0, 0.5, -1.0, 0.1]),
        torch.zeros(4),
    )
    assert found.winner.tolist() == [4, 2]
    assert found.x_adv.flatten().tolist() == [7.0, 20.0]


def test_equal_margins_go_to_the_earlier_run():
    found = Findings(torch.zeros(1, 1), torch.tensor([1.0]), torch.zeros(1), runs=2)
    for run in (1, 0):
        point = torch.full((1, 1), float(run))
        record(
            found, torch.tensor([0]), torch.tensor([run]), point, torch.tensor([0.5]), torch.ones(1)
        )
    assert int(found.best_run[0]) == 0


def test_a_tie_counts_as_success_and_nan_too():
    found = Findings(torch.zeros(3, 1), torch.tensor([1.0, 0.0, 1.0]), torch.zeros(3), runs=1)
    assert found.winner.tolist() == [1, CLEAN, 1]
    record(
        found,
        torch.tensor([0, 2]),
        torch.zeros(2, dtype=torch.int64),
        torch.ones(2, 1),
        torch.tensor([0.0, float("nan")]),
        torch.zeros(2),
    )
    assert found.winner.tolist() == [0, CLEAN, 0]


def test_finished_is_said_once_and_only_when_no_earlier_run_is_open():
    found = Findings(torch.zeros(1, 1), torch.tensor([1.0]), torch.zeros(1), runs=3)
    at, one = torch.tensor([0]), torch.tensor([1])
    record(found, at, one, torch.ones(1, 1), torch.tensor([-1.0]), torch.zeros(1))
    found.end(at, one, one, one)
    assert len(found.newly_finished(at)) == 0
    assert not bool(found.wanted(at, torch.tensor([2])))
    assert bool(found.wanted(at, torch.tensor([0])))
    found.end(at, torch.tensor([0]), one, one)
    assert found.newly_finished(at).tolist() == [0]
    assert len(found.newly_finished(at)) == 0


def test_the_smallest_success_is_kept_and_claimed_though_no_run_won():
    found = Findings(
        torch.zeros(2, 1), torch.tensor([1.0, 1.0]), torch.zeros(2), runs=2, smallest=True
    )
    lost = torch.zeros(1, dtype=torch.bool)
    for run, size in ((1, 0.5), (0, 0.7)):
        at, which = torch.tensor([1]), torch.tensor([run])
        point, rank = torch.full((1, 1), size), torch.tensor([size])
        found.record(at, which, lost, point, rank, -torch.ones(1), torch.zeros(1))
        found.end(at, which, which, which)
    assert found.x_adv.flatten().tolist() == [0.0, 0.5]
    assert found.winner.tolist() == [2, 2]
    assert found.claims(torch.tensor([0, 1])).tolist() == [False, True]
