"""SignHunter: its chunks, its points, exactness on linear models."""

import math

import pytest
import torch

from holdfast.attacks.signhunter import SignHunter, chunks
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


def test_chunks_halve_and_cover():
    table = chunks(6, 99)
    assert table[:3] == ((0, 6), (0, 3), (3, 6))
    assert table[3:6] == ((0, 2), (2, 4), (4, 6))
    assert table[6:] == tuple((k, k + 1) for k in range(6))
    assert len(chunks(1000, 17)) == 17
    assert chunks(1, 5) == ((0, 1),)


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.2)])
def test_reaches_the_best_corner_of_a_linear_model_within_2n_queries(threat):
    # At single features the greedy search has the sign of every weight: the optimum of the corner.
    w = torch.tensor([0.4, -1.0, 0.3, 2.0, -0.7])
    model = torch.nn.Linear(5, 2)
    with torch.no_grad():
        model.weight.copy_(torch.stack([w, -w]))
        model.bias.copy_(torch.tensor([9.0, -9.0]))
    x, y = torch.full((3, 5), 0.5), torch.zeros(3, dtype=torch.int64)
    queries = 1 + len(chunks(5, 99))
    result = SignHunter(queries=queries).run(FrozenModel(model, block=3), x, y, threat)
    width = threat.radius if threat.p == math.inf else threat.radius / math.sqrt(5)
    best = 18.0 + float(w.sum()) - 2 * width * float(w.abs().sum())
    assert torch.allclose(result.margin, torch.full((3,), best), atol=1e-4)
    assert result.forwards.tolist() == [1 + queries] * 3
    if threat.p == math.inf:
        assert torch.allclose((result.x_adv - x).abs(), torch.full((3, 5), 0.05), atol=1e-6)


def test_a_warm_start_supplies_the_signs():
    model = torch.nn.Linear(6, 2)
    x, y = torch.full((1, 6), 0.5), model(torch.full((1, 6), 0.5)).argmax(1)
    grad = model.weight[1 - y[0]] - model.weight[y[0]]
    start = (x + 1e-3 * grad.sign()).detach()
    result = SignHunter(queries=1).run(model, x, y, Linf(1e-3), start=start)
    assert torch.allclose(result.x_adv, start)


def test_refuses_other_balls_and_finds_what_is_easy():
    net = small_net()
    x, y = examples(5, net)
    with pytest.raises(UnsupportedThreat, match="SignHunter"):
        SignHunter().run(net, x, y, L1(1.0))
    result = SignHunter(queries=200).run(FrozenModel(net, block=3), x, y, Linf(0.3))
    assert bool(result.success.all())
    assert int(result.forwards.max()) <= 202
