import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.measures import Accuracy
from holdfast.threats import Linf


def world(count=31):
    """A linear model of two classes, with the exact radius at which each example falls."""
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.randn(2, 6, generator=generator))
        model.bias.zero_()
    x = torch.randn(count, 6, generator=generator)
    y = torch.randint(0, 2, (count,), generator=generator)
    with torch.no_grad():
        margin = (model(x) * torch.tensor([1.0, -1.0])).sum(1) * torch.where(y == 0, 1.0, -1.0)
        radius = margin / (model.weight[0] - model.weight[1]).abs().sum()
    return model, x, y, radius


def test_clean_accuracy_is_the_share_of_positive_margins():
    model, x, y, radius = world()
    accuracy = Accuracy()
    found = accuracy.compute(accuracy.update(model, x, y))
    assert found.value == (radius > 0).double().mean()
    assert torch.equal(found.per_example, radius > 0)
    assert found.n == 31
    assert found.stderr == pytest.approx((found.value * (1 - found.value) / 31) ** 0.5)


@pytest.mark.parametrize("eps", [0.0, 0.05, 0.2])
def test_robust_accuracy_is_exact_on_a_linear_model(eps):
    model, x, y, radius = world()
    accuracy = Accuracy(attack=PGD(steps=10, restarts=1))
    sums = accuracy.update(model, x, y, Linf(eps, box=None), keys=Keys.of(0, range(31)))
    assert torch.equal(sums.right, radius > eps)


def test_it_does_not_depend_on_batches():
    model, x, y, _ = world()
    accuracy, keys = Accuracy(attack=PGD(steps=3, restarts=2)), Keys.of(0, range(31))
    threat = Linf(0.1, box=None)
    whole = accuracy.update(model, x, y, threat, keys=keys)
    parts = [slice(0, 7), slice(7, 8), slice(8, 31)]
    first, *rest = [accuracy.update(model, x[p], y[p], threat, keys=keys[p]) for p in parts]
    for part in rest:
        first = first + part
    assert torch.equal(first.right, whole.right)


def test_it_is_never_measured_under_autocast():
    model, x, y, _ = world()
    seen = []
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Accuracy().update(model, x, y)
        Accuracy(attack=PGD(steps=1, restarts=1)).update(model, x, y, Linf(0.1, box=None))
    assert set(seen) == {torch.float32}


def test_the_model_is_left_as_found():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2))
    model[0].eval()
    before = model[0].running_mean.clone()
    _, x, y, _ = world()
    Accuracy(attack=PGD(steps=2, restarts=1)).update(model, x, y, Linf(0.1, box=None))
    assert [module.training for module in model.modules()] == [True, False, True, True]
    assert torch.equal(model[0].running_mean, before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_cannot_be_measured_is_refused():
    model, x, y, _ = world()
    with pytest.raises(InputError, match="threat=None: is missing"):
        Accuracy(attack=PGD()).update(model, x, y)
    with pytest.raises(InputError, match="no examples: is empty"):
        Accuracy().update(model, x[:0], y[:0])


def test_it_is_a_record():
    accuracy = Accuracy(attack=PGD(steps=4, restarts=1))
    assert build(Accuracy, to_dict(accuracy)) == accuracy
    assert build(Accuracy, {"attack": "pgd"}) == Accuracy(attack=PGD())
