import torch

from certify.nets import graph, inputs
from holdfast.certify.complete.exploring import Network, Record, Replay, largest, listed


def record(target=0.0):
    return Record(torch.zeros(1), 3, 2, target, 1e-3)


def test_inputs_are_kept_where_they_are_best():
    found = record()
    points = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    values = torch.tensor([0.5, 0.2, float("nan"), -1.0])
    found.tried(values, points, torch.tensor([0, 0, 1, 2]))
    assert found.upper.tolist()[0] == torch.tensor(0.2).double()
    assert found.upper[1] == torch.inf
    assert found.best[0].tolist() == [3.0, 4.0]
    found.tried(torch.tensor([0.4]), points[:1], torch.tensor([0]))
    assert found.best[0].tolist() == [3.0, 4.0]
    assert found.broken().tolist() == [False, False, True]


def test_only_finite_bounds_above_the_target_are_done():
    lower = torch.tensor([0.1, 0.0, -1.0, float("nan"), float("inf")])
    query = torch.zeros(5, dtype=torch.long)
    assert record().done(lower, query).tolist() == [True, False, False, False, False]
    found = record(float("inf"))
    found.tried(torch.tensor([0.1005]), torch.zeros(1, 2), torch.tensor([0]))
    assert found.done(lower, query).tolist() == [True, False, False, False, True]


def test_a_bound_is_the_least_of_what_is_closed_and_open():
    found = record()
    found.close(torch.tensor([0.4, 0.3]), torch.tensor([0, 1]))
    lower = found.lower(torch.tensor([0.1, float("nan")]), torch.tensor([0, 2]))
    assert lower[0] == torch.tensor(0.1).double()
    assert lower[2] == -torch.inf
    assert found.lower(torch.zeros(0), torch.zeros(0).long())[2] == torch.inf
    found.close(torch.tensor([float("inf")]), torch.tensor([2]))
    assert found.lower(torch.zeros(0), torch.zeros(0).long())[2] == torch.inf  # and not a number


def test_queries_are_places_one_after_the_other():
    assert listed([1, 3, 2]).tolist() == [[0, -1, -1], [1, 2, 3], [4, 5, -1]]
    outputs = torch.tensor([[1.0, 5.0, 2.0], [4.0, 0.0, 7.0]])
    places = torch.tensor([[0, 2], [1, -1]])
    assert largest(outputs, places).tolist() == [2.0, 0.0]


def test_a_network_is_its_graph_and_replays_inside_the_set():
    x = inputs(4)
    network = Network(graph("residual"))
    assert torch.equal(network.forward(x.flatten(1)), graph("residual").forward(x))
    queries = listed([2, 3])
    replay = Replay(network, queries, lambda points: points.clamp(0.2, 0.8))
    values, points = replay(x.flatten(1), torch.tensor([0, 1, 1, 0]))
    outputs = graph("residual").forward(x.clamp(0.2, 0.8))
    assert torch.equal(points, x.flatten(1).clamp(0.2, 0.8))
    assert torch.equal(values[0], outputs[0, :2].max())
    assert torch.equal(values[1], outputs[1, 2:].max())
