import torch
from sklearn.datasets import load_digits

from holdfast.data.load import load_data
from holdfast.data.splits import split


def test_digits_are_those_of_scikit_learn():
    source, data = load_digits(), load_data("digits", "all")
    assert len(data) == 1797
    assert torch.equal(data.inputs()[:, 0], torch.from_numpy(source.images).float() / 16)
    assert data.labels.tolist() == source.target.tolist()
    assert (data.scale, data.classes, data.shape) == (16, 10, (1, 8, 8))
    assert data.inputs().amax() == 1.0


def test_the_split_is_fixed():
    train, test, both = (load_data("digits", name) for name in ("train", "test", "all"))
    assert (len(train), len(test)) == (1297, 500)
    assert torch.equal(test.index, split(1797, seed=0, counts=(1297, 500))[1])
    assert torch.cat([train.index, test.index]).sort().values.tolist() == list(range(1797))
    assert torch.equal(test.images, both.images[test.index])
    assert all(count > 30 for count in test.labels.bincount().tolist())


def test_limit_is_the_first_in_stable_order():
    assert torch.equal(load_data("digits", limit=7).index, load_data("digits").index[:7])
