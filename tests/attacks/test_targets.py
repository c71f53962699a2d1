"""Targets are wrong classes by falling logit."""

import torch

from holdfast.attacks.targets import likely


def test_the_label_is_never_a_target_and_ties_go_by_class():
    logits = torch.tensor([[4.0, 1.0, 4.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    y = torch.tensor([2, 0])
    aims = [likely(torch.tensor([k, k]), y, logits).tolist() for k in range(3)]
    assert aims == [[0, 1], [3, 2], [1, 3]]
