import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.linearization import (
    LinearizationError,
    keep_some,
    linearization_error,
    smooth_bound,
)
from holdfast.threats import Linf
from measures.smooth import First, form
from nets import examples, small_net

EPS = 8 / 255


@pytest.mark.parametrize("direction", ["fgsm", "random"])
def test_a_quadratic_form_has_half_of_its_value_as_the_error(direction):
    model, keys = form(), Keys.of(5, range(4))
    x, y, threat = torch.rand(4, 5).double(), torch.zeros(4).long(), Linf(EPS)
    measure = LinearizationError(direction=direction, loss=First(), zeroed=0.4)
    found = measure.compute(measure.update(model, x, y, threat, keys=keys))
    keys = keys.fold("linearization")
    signs = (x @ model.matrix).sign() if direction == "fgsm" else keys.fold("corner").sign((5,))
    delta = keep_some(EPS * signs.double(), 0.4, keys)
    exact = ((delta @ model.matrix) * delta).sum(1).abs() / 2
    assert torch.allclose(found.per_example, exact, atol=1e-14)
    smoothness = float(torch.linalg.matrix_norm(model.matrix, 2))
    assert bool((found.per_example <= smooth_bound(delta, smoothness)).all())
    assert float(smooth_bound(delta, smoothness)[0]) == pytest.approx(
        smoothness / 2 * float(delta[0].square().sum())
    )


def test_a_linear_loss_has_no_error():
    model, x, y = nn.Linear(6, 3).double(), torch.rand(7, 6).double(), torch.zeros(7).long()
    measure = LinearizationError(loss=First())
    assert measure.compute(measure.update(model, x, y, Linf(0.3))).value < 1e-14


@pytest.mark.parametrize("zeroed", [0.0, 0.25, 0.5, 1.0])
def test_the_size_is_that_of_the_protocol(zeroed):
    net = small_net()
    x, y = examples(3, net)
    measure = LinearizationError(direction="random", zeroed=zeroed)
    sums = measure.update(net, x, y, Linf(EPS))
    size = EPS * ((1 - zeroed) * 84) ** 0.5
    assert sums["size"].tolist() == pytest.approx([size] * 3, rel=1e-6)
    assert sums["error"].isfinite().all()
    if zeroed == 1:
        assert not sums["error"].any()


def test_a_larger_fraction_zeroes_more_and_undoes_nothing():
    keys, delta = Keys.of(0, range(3)), torch.ones(3, 2, 7)
    some, more = (keep_some(delta, q, keys) for q in (0.3, 0.6))
    assert some.flatten(1).sum(1).tolist() == [10, 10, 10]
    assert more.flatten(1).sum(1).tolist() == [6, 6, 6]
    assert bool((more <= some).all())
    assert not torch.equal(some[0], some[1])


def test_the_error_is_larger_along_the_gradient_on_a_curved_loss():
    model = form()
    model.matrix = model.matrix @ model.matrix.T  # convex
    x, y = torch.rand(31, 5).double(), torch.zeros(31).long()
    means = [
        measure.compute(measure.update(model, x, y, Linf(EPS))).value
        for measure in (
            LinearizationError(direction=each, loss=First()) for each in ("fgsm", "random")
        )
    ]
    assert means[0] > means[1]


def test_it_depends_on_the_example_alone():
    net = small_net()
    x, y = examples(7, net)
    keys, frozen = Keys.of(0, range(7)), FrozenModel(net, block=3)
    measure = LinearizationError(direction="random", zeroed=0.5)
    whole = measure.update(frozen, x, y, Linf(0.3), keys=keys)
    some = measure.update(frozen, x[4:], y[4:], Linf(0.3), keys=keys[4:])
    assert torch.equal(some["error"], whole["error"][4:])
    assert frozen.passes.backwards == 9 + 3
    with pytest.raises(InputError, match="threat=None: is missing"):
        measure.update(net, x, y)


def test_the_error_is_by_definition():
    before, after = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 1.0])
    gradient, delta = torch.ones(2, 3), torch.tensor([[0.1, 0.2, 0.3], [0.0, 0.0, -2.0]])
    found = linearization_error(before, after, gradient, delta)
    assert found.tolist() == pytest.approx([0.1, 1.0], abs=1e-6)
