import pytest
import torch

from holdfast.training.averaging import Average
from training.tiny import network, weights


def test_the_average_follows_its_formula():
    live = network()
    average = Average(live, 0.5)
    want = live[5].weight.detach().clone().double()
    for step in range(6):
        with torch.no_grad():
            live[5].weight.mul_(1.5).add_(0.1)
        average.update(live)
        factor = min(0.5, (1 + step) / (10 + step))
        want = factor * want + (1 - factor) * live[5].weight.detach().double()
    assert torch.allclose(average.network[5].weight.double(), want, rtol=1e-5)
    assert average.updates == 6


def test_buffers_are_copied_by_value_and_nothing_is_shared():
    live = network(norm=True)
    average = Average(live, 0.9)
    live.train()(torch.rand(4, 2, 5, 4))
    average.update(live)
    assert torch.equal(average.network[1].running_mean, live[1].running_mean)
    before = weights(average.network)
    live(torch.rand(4, 2, 5, 4))
    with torch.no_grad():
        live[5].weight.add_(1)
    assert torch.equal(weights(average.network), before)


@pytest.mark.parametrize("decay", [0.0])
def test_without_decay_it_is_the_live_network(decay):
    live = network()
    average = Average(live, decay)
    with torch.no_grad():
        live[0].weight.add_(1)
    average.update(live)
    assert torch.equal(weights(average.network), weights(live))
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
