"""What the first block shows about a model."""

import torch

from holdfast.benchmark.probe import probe
from holdfast.core.frozen import FrozenModel
from holdfast.data.adapt import as_data
from nets import examples, small_net


def ask(model):
    data = as_data(examples(7, small_net()))
    frozen = FrozenModel(model, block=4)
    with frozen:
        found = probe(frozen, data, torch.arange(7))
    assert frozen.passes.forwards == 0
    return found


def test_an_ordinary_model_gives_no_warning():
    assert ask(small_net()) == []


def test_noise_is_seen():
    net = small_net()
    assert "randomised" in ask(lambda x: net(x) + torch.randn(len(x), 5))[0]


def test_batch_statistics_are_seen():
    net = small_net()
    assert "neighbours" in ask(lambda x: net(x) + torch.arange(len(x))[:, None])[0]


def test_nothing_to_look_at():
    frozen = FrozenModel(small_net(), block=4)
    assert probe(frozen, as_data(examples(7, small_net())), torch.arange(0)) == []
