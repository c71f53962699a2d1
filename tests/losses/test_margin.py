import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.margin import Margin, at, margin, margin_loss, others

B, K = 6, 5


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    keys = Keys.of(seed, range(B))
    return keys.fold("logits").normal((K,)), keys.fold("labels").integers(K, ())


def test_margin_is_the_lead_over_the_best_other_class():
    logits, y = rows()
    for row, label, found in zip(logits, y, margin(logits, y), strict=True):
        rest = [float(z) for j, z in enumerate(row) if j != label]
        assert found == row[label] - max(rest)


def test_margin_is_positive_exactly_where_the_model_is_correct():
    logits, y = rows(1)
    assert ((margin(logits, y) > 0) == (logits.argmax(dim=1) == y)).all()


def test_a_tie_has_margin_zero():
    logits = torch.tensor([[2.0, 2.0, 1.0]])
    assert margin(logits, torch.tensor([0])) == 0
    assert margin_loss(logits, torch.tensor([1])) == 0


def test_margin_does_not_change_when_all_logits_are_shifted():
    logits, y = rows(2)
    torch.testing.assert_close(margin(logits.double() + 3, y), margin(logits.double(), y))


def test_targeted_loss_is_the_lead_of_the_target_over_the_label():
    logits, y = rows(3)
    target = (y + 2) % K
    expected = logits[range(B), target] - logits[range(B), y]
    assert (margin_loss(logits, y, target) == expected).all()


def test_the_untargeted_loss_is_the_best_targeted_one():
    logits, y = rows(4)
    targeted = [margin_loss(logits, y, (y + shift) % K) for shift in range(1, K)]
    assert (margin_loss(logits, y) == torch.stack(targeted).amax(dim=0)).all()


def test_gradients_agree_with_finite_differences():
    logits, y = rows(5)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: margin_loss(z, y), logits)
    assert torch.autograd.gradcheck(lambda z: margin_loss(z, y, (y + 1) % K), logits)


def test_tied_rivals_share_the_gradient():
    logits = torch.tensor([[3.0, 1.0, 1.0]], requires_grad=True)
    margin(logits, torch.tensor([0])).backward()
    assert logits.grad.tolist() == [[1.0, -0.5, -0.5]]


def test_a_row_does_not_depend_on_its_neighbours():
    logits, y = rows(6)
    for i in range(B):
        assert margin(logits[i : i + 1], y[i : i + 1]) == margin(logits, y)[i]


def test_the_object_and_the_function_agree():
    logits, y = rows(7)
    assert (Margin()(logits, y) == -margin(logits, y)).all()
    assert Margin() == Margin()
    assert repr(Margin()) == "Margin()"


def test_at_and_others_split_a_row():
    logits, y = rows(8)
    assert (torch.maximum(at(logits, y), others(logits, y).amax(dim=1)) == logits.amax(1)).all()
    assert (others(logits, y) == -torch.inf).sum() == B


@pytest.mark.parametrize(
    ("shape", "labels", "argument"),
    [((B,), B, "logits"), ((B, 1), B, "logits"), ((B, K), B - 1, "y")],
)
def test_shapes_that_do_not_fit_are_named(shape, labels, argument):
    with pytest.raises(InputError) as caught:
        margin(torch.zeros(shape), torch.zeros(labels, dtype=torch.int64))
    assert caught.value.argument == argument


def test_a_target_of_the_wrong_shape_is_named():
    logits, y = rows()
    with pytest.raises(InputError) as caught:
        margin_loss(logits, y, y[:2])
    assert caught.value.argument == "target"
