import torch

from holdfast.training.objectives.fitting import accuracy_in, bare, keys_or_content, share_right
from training.tiny import examples, network


def test_a_model_without_wrapper_is_itself():
    model = network()
    assert bare(model) is model


def test_shares():
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0], [0.0, 1.0, 0.0]])
    y = torch.tensor([0, 1, 1])
    assert share_right(logits, y) == 2 / 3
    margins = logits.gather(1, y[:, None]) - logits
    assert accuracy_in(margins, y) == 2 / 3


def test_examples_without_keys_are_keyed_by_their_bytes():
    x = examples(5).inputs()
    there = keys_or_content(None, x).uniform((2,))
    assert torch.equal(keys_or_content(None, x[2:]).uniform((2,)), there[2:])
