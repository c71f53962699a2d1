import torch

from holdfast.training.subsets import spread
from training.tiny import examples


def test_examples_are_spread_over_the_set():
    data = examples(23)
    part = spread(data, 5)
    assert part.index.tolist() == [0, 4, 9, 13, 18]
    assert torch.equal(part.images, data.images[part.index])
    assert spread(data, 23) is data
    assert spread(data, 99) is data
    assert len(set(spread(data, 22).index.tolist())) == 22
