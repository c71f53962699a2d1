import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.divergence import (
    DIVERGENCES,
    DivergenceFrom,
    kl,
    kl_reverse,
    l2_logits,
    sym_kl,
    tv,
)
from holdfast.losses.protocol import Loss

B, K = 6, 5

each = pytest.mark.parametrize("name", DIVERGENCES)


def pair(seed=0, scale=3.0):
    """Two tensors of logits, float64."""
    keys = Keys.of(seed, range(B))
    first, second = (scale * keys.fold(name).normal((K,)).double() for name in ("z", "reference"))
    return first, second


def test_values_are_those_of_the_definitions():
    logits, reference = pair()
    q, p = logits.softmax(1), reference.softmax(1)
    forward, backward = (p * (p / q).log()).sum(1), (q * (q / p).log()).sum(1)
    torch.testing.assert_close(kl(logits, reference), forward)
    torch.testing.assert_close(kl_reverse(logits, reference), backward)
    torch.testing.assert_close(sym_kl(logits, reference), forward + backward)
    torch.testing.assert_close(tv(logits, reference), (p - q).clamp_min(0).sum(1))
    torch.testing.assert_close(l2_logits(logits, reference), (logits - reference).norm(dim=1) ** 2)


@each
def test_it_is_positive_and_zero_where_the_answers_agree(name):
    logits, reference = pair(1)
    divergence = DIVERGENCES[name]
    assert (divergence(logits, reference) > 0).all()
    assert (divergence(logits, logits) == 0).all()
    if name != "l2_logits":
        assert (divergence(logits, logits + 2.5).abs() < 1e-14).all()


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_at_equal_logits_is_exactly_zero(name, dtype):
    for scale in (0.1, 3.0, 40.0):
        reference = pair(2, scale)[0].to(dtype)
        logits = reference.clone().requires_grad_()
        DIVERGENCES[name](logits, reference).sum().backward()
        assert (logits.grad == 0).all()


def test_the_gradient_of_kl_is_the_difference_of_the_answers():
    logits, reference = pair(3)
    logits.requires_grad_()
    kl(logits, reference).sum().backward()
    torch.testing.assert_close(logits.grad, logits.detach().softmax(1) - reference.softmax(1))


@each
def test_gradients_into_both_agree_with_finite_differences(name):
    pairs = tuple(z.requires_grad_() for z in pair(4))
    assert torch.autograd.gradcheck(DIVERGENCES[name], pairs)


@pytest.mark.parametrize("name", ["kl", "kl_reverse", "sym_kl", "tv"])
def test_a_class_out_of_question_changes_nothing(name):
    logits, reference = pair(5)
    more = [torch.cat([z, torch.full((B, 1), -50.0).double()], 1) for z in (logits, reference)]
    wanted = DIVERGENCES[name](logits, reference)
    torch.testing.assert_close(DIVERGENCES[name](*more), wanted)


def test_probabilities_serve_as_reference_by_their_logs_zeros_included():
    logits = pair(6)[0].requires_grad_()
    labels = torch.arange(B) % K
    certain = torch.nn.functional.one_hot(labels, K).double()
    torch.testing.assert_close(kl(logits, certain.log()), CrossEntropy()(logits, labels))
    mixed = 0.7 * certain + 0.3 * certain.roll(1, 1)
    entropy = -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    value = kl(logits, mixed.log())
    torch.testing.assert_close(value, CrossEntropy()(logits, mixed) - entropy)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(gradient, logits.detach().softmax(1) - mixed)


def test_answers_far_apart_stay_finite_and_right_in_float32():
    logits = torch.tensor([[120.0, 0.0, -3.0]], requires_grad=True)
    reference = torch.tensor([[0.0, 120.0, -3.0]], requires_grad=True)
    for name, divergence in DIVERGENCES.items():
        value = divergence(logits, reference)
        wanted = {"tv": 1.0, "l2_logits": 2 * 120.0**2, "sym_kl": 240.0}.get(name, 120.0)
        assert value.item() == pytest.approx(wanted, rel=1e-6)
        gradients = torch.autograd.grad(value.sum(), (logits, reference))
        assert all(each.isfinite().all() for each in gradients)


@each
def test_a_row_does_not_depend_on_its_neighbours(name):
    logits, reference = pair(7)
    whole = DIVERGENCES[name](logits, reference)
    for i in range(B):
        assert DIVERGENCES[name](logits[i : i + 1], reference[i : i + 1]) == whole[i]


def test_as_a_loss_it_adds_the_weighted_divergence_to_its_base():
    logits, reference = pair(8)
    y = torch.arange(B) % K
    alone = DivergenceFrom(reference, "tv", weight=2.0)
    assert isinstance(alone, Loss)
    torch.testing.assert_close(alone(logits, y), 2 * tv(logits, reference))
    whole = DivergenceFrom(reference, base=CrossEntropy(), weight=0.5)
    wanted = CrossEntropy()(logits, y) + 0.5 * kl(logits, reference)
    torch.testing.assert_close(whole(logits, y), wanted)


@each
def test_shapes_that_do_not_fit_are_named(name):
    with pytest.raises(InputError, match="reference=a tensor of shape"):
        DIVERGENCES[name](torch.zeros(B, K), torch.zeros(1, K))
