import pytest
import torch

from holdfast.threats import Linf
from holdfast.training.objectives.atas import ATAS
from holdfast.training.objectives.fitting import (
    accuracy_in,
    bare,
    keys_or_content,
    share_right,
    zero_share,
)
from holdfast.training.objectives.grad_align import GradAlign
from holdfast.training.objectives.gradient_penalty import GradientPenalty
from training.tiny import examples, network
from training.visits import Course


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


def test_the_share_of_zero_entries_of_a_gradient():
    gradient = torch.tensor([[0.0, 1.0, -2.0], [0.0, 0.0, 3.0]], requires_grad=True)
    assert zero_share(gradient).item() == pytest.approx(0.5)
    assert not zero_share(gradient).requires_grad


@pytest.mark.parametrize(
    "objective", [GradAlign(weight=0.2), GradientPenalty(weight=0.2), ATAS(warmup=0)]
)
def test_objectives_that_follow_a_sign_record_zero_gradients(objective):
    net = network()
    x, y, keys, visit = Course(5).show(range(5))

    def share():
        result = objective.loss(net, x, y, Linf(0.1), progress=0.5, keys=keys, visit=visit)
        return result.logs["zero_gradients"].item()

    assert share() < 0.1
    with torch.no_grad():
        net[0].weight[:, 1] = 0
    assert 0.5 <= share() < 0.6
