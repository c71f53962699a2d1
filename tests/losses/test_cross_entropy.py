import math

import pytest
import torch
from torch.nn import functional

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import CrossEntropy, cross_entropy
from holdfast.losses.margin import Margin

B, K = 6, 5


def rows(seed: int = 0, scale: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    keys = Keys.of(seed, range(B))
    return scale * keys.fold("logits").normal((K,)), keys.fold("labels").integers(K, ())


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_it_equals_the_one_of_torch(scale):
    logits, y = rows(scale=scale)
    logits = logits.double()
    expected = functional.cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, y), expected, rtol=1e-10, atol=1e-13)


def test_its_gradient_equals_the_one_of_torch():
    logits, y = rows(1)
    ours, theirs = (logits.double().requires_grad_() for _ in range(2))
    cross_entropy(ours, y).sum().backward()
    functional.cross_entropy(theirs, y, reduction="sum").backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-13)


def test_gradients_agree_with_finite_differences():
    logits, y = rows(2)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, y), logits)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, y, (y + 1) % K), logits)


def test_equal_logits_give_log_of_the_number_of_classes():
    value = cross_entropy(torch.full((2, K), 7.0, dtype=torch.float64), torch.tensor([0, 3]))
    torch.testing.assert_close(value, torch.full((2,), math.log(K), dtype=torch.float64))


def test_the_targeted_form_is_minus_the_cross_entropy_of_the_target():
    logits, y = rows(3)
    target = (y + 1) % K
    assert (cross_entropy(logits, y, target) == -cross_entropy(logits, target)).all()


@pytest.mark.parametrize("lead", [20.0, 40.0, 60.0])
def test_confident_rows_keep_their_value_and_direction_in_float32(lead):
    logits = torch.tensor([[lead, 0.5, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    loss = cross_entropy(logits, y)
    loss.sum().backward()
    exact = logits.detach().double().requires_grad_()
    (math.exp(-lead) * exact[:, 1:].exp().sum()).backward()  # to first order, which is all there is
    torch.testing.assert_close(
        float(loss.detach()), math.exp(-lead) * (math.exp(0.5) + 1), rtol=1e-4, atol=0.0
    )
    torch.testing.assert_close(logits.grad[:, 1:].double(), exact.grad[:, 1:], rtol=1e-4, atol=0.0)
    assert float(logits.grad.sum().abs()) <= 1e-6 * float(logits.grad.abs().max())


def test_ties_and_huge_logits_give_finite_numbers():
    logits = torch.tensor([[0.0, 0.0, 0.0], [1e30, 1e30, -1e30], [-1e30, 1e30, 0.0]])
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([0, 1, 0]))
    loss.sum().backward()
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_row_does_not_depend_on_its_neighbours():
    logits, y = rows(4)
    for i in range(B):
        assert cross_entropy(logits[i : i + 1], y[i : i + 1]) == cross_entropy(logits, y)[i]


def test_the_object_and_the_function_agree():
    logits, y = rows(5)
    assert (CrossEntropy()(logits, y) == cross_entropy(logits, y)).all()


def test_one_class_is_refused():
    with pytest.raises(InputError, match="at least 2 classes"):
        cross_entropy(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))


def shares(seed: int = 0) -> torch.Tensor:
    """Probabilities of the classes."""
    return (2 * Keys.of(seed, range(B)).fold("shares").normal((K,))).softmax(1)


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_probabilities_are_labels_too(precise, scale):
    logits, mixed = rows(6, scale)[0].double().requires_grad_(), shares().double()
    loss = CrossEntropy(precise=precise)(logits, mixed)
    expected = functional.cross_entropy(logits, mixed, reduction="none")
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=1e-13)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    torch.testing.assert_close(gradient, logits.detach().softmax(1) - mixed)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, mixed), logits)


def test_certain_probabilities_equal_their_labels():
    logits, y = rows(7)
    certain = functional.one_hot(y, K).to(logits)
    torch.testing.assert_close(cross_entropy(logits, certain), cross_entropy(logits, y))
    target = (y + 1) % K
    assert (cross_entropy(logits, certain, target) == cross_entropy(logits, y, target)).all()


@pytest.mark.parametrize("lead", [20.0, 60.0])
def test_certain_probabilities_keep_confident_rows_in_float32(lead):
    logits = torch.tensor([[0.5, lead, 0.0]], requires_grad=True)
    hard = cross_entropy(logits, torch.tensor([1]))
    soft = cross_entropy(logits, torch.tensor([[0.0, 1.0, 0.0]]))
    torch.testing.assert_close(soft, hard, rtol=1e-6, atol=0.0)
    (wanted,) = torch.autograd.grad(hard.sum(), logits)
    (found,) = torch.autograd.grad(soft.sum(), logits)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=0.0)
    assert (found[0, [0, 2]] > 0).all()


@pytest.mark.parametrize("precise", [True, False])
def test_labels_of_another_shape_or_type_are_refused(precise):
    loss = CrossEntropy(precise=precise)
    logits, y = rows(8)
    for labels in (shares()[:, :-1], shares()[:-1], shares().long(), shares()[..., None]):
        with pytest.raises(InputError, match=r"y=a tensor .* float probabilities \(B, K\)"):
            loss(logits, labels)
    with pytest.raises(InputError, match="target=a tensor"):
        loss(logits, y, shares())


def test_only_cross_entropy_takes_probabilities():
    with pytest.raises(InputError, match="give one label per row"):
        Margin()(rows()[0], shares())
