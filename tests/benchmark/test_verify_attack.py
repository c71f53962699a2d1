from itertools import pairwise

import pytest
import torch

from benchmark.networks import below, case, mlp, tent
from holdfast.benchmark.verify_attack import BoxDescent, Nearby, descend
from holdfast.certify.complete.exploring import Network
from holdfast.certify.rounding import Box


def test_all_points_lie_in_their_boxes_and_runs_repeat():
    graph, cases = mlp(), [*below(-9.0, inputs=3).cases, *below(-8.0, inputs=3, row=0).cases]
    attack = BoxDescent(steps=5, restarts=3, samples=11)
    points = attack.falsify(graph, cases, seed=1)
    assert points.shape == (6, 3)
    assert cases[0].inside(points).all()
    assert torch.equal(points, attack.falsify(graph, cases, seed=1))
    assert not torch.equal(points, attack.falsify(graph, cases, seed=2))


def test_it_finds_the_tip_of_a_tent():
    problem = below(1e-3)
    points = BoxDescent(steps=60, samples=16).falsify(tent(), problem.cases, seed=0)
    assert bool((problem.cases[0].excess(tent().forward(points)) <= 0).any())


def test_boxes_of_their_own_are_attacked_apart():
    cases = [case([1.0, 1.0], [2.0, 2.0], [[1.0, 0.0]], [0.9]), *below(-1.0).cases]
    points = BoxDescent(steps=2, restarts=2, samples=5).falsify(tent(), cases, seed=0)
    assert cases[0].inside(points[:2]).all()
    assert cases[1].inside(points[2:]).all()


def test_the_best_point_of_a_run_is_kept():
    graph, cases = mlp(), below(-99.0, inputs=3).cases
    start = torch.rand(5, 3, generator=torch.Generator().manual_seed(0)).double()
    box = Box(cases[0].lower, cases[0].upper)
    which = torch.zeros(5, dtype=torch.int64)
    excess = [
        cases[0].excess(
            graph.forward(descend(Network(graph), cases, which, start, box, steps, 0.5))
        )
        for steps in (0, 1, 4, 9)
    ]
    assert torch.equal(excess[0], cases[0].excess(graph.forward(start)))
    assert all(bool((b <= a).all()) for a, b in pairwise(excess))


def test_points_are_tried_within_the_box_and_bettered():
    graph, cases = mlp(), [*below(-99.0, inputs=3).cases, *below(-98.0, inputs=3, row=0).cases]
    points = 4 * torch.rand(20, 3, generator=torch.Generator().manual_seed(0)).double() - 2
    query = torch.arange(20) % 2
    plain, inside = Nearby(Network(graph), cases, steps=0)(points, query)
    assert torch.equal(inside, points.clamp(-1, 1))
    for i in range(20):
        alone = cases[query[i]].excess(graph.forward(inside[i : i + 1]))[0]
        assert float(plain[i]) == pytest.approx(float(alone.detach()), rel=1e-12)
    found, moved = Nearby(Network(graph), cases, steps=6)(points, query)
    assert (found <= plain).all()
    assert (found < plain).any()
    assert cases[0].inside(moved).all()
    small = Box(inside - 1e-3, inside + 1e-3)
    near = Nearby(Network(graph), cases, steps=6)(points, query, small)[1]
    assert ((near - inside).abs() <= 1e-3 + 1e-12).all()


def test_only_points_of_the_box_disprove():
    cases = below(0.1).cases  # |x_0| + |x_1| <= 0.1
    nearby = Nearby(Network(tent()), cases)
    assert nearby.unsafe(torch.tensor([[0.5, 0.2], [2.0, 0.0]]).double()) is None
    found = nearby.unsafe(torch.tensor([[0.5, 0.2], [0.0625, 0.0], [0.015625, 0.0]]).double())
    assert found.tolist() == [0.015625, 0.0]
    outside = below(9.0).cases
    assert Nearby(Network(tent()), outside).unsafe(torch.tensor([[2.0, 0.0]]).double()) is None
    assert nearby.unsafe(torch.zeros(0, 2).double()) is None
