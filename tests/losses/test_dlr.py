import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.losses.dlr import DLR, dlr

B, K = 64, 5


def rows(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    keys = Keys.of(seed, range(B))
    return keys.fold("logits").normal((K,)), keys.fold("labels").integers(K, ())


def by_hand(z: list[float], y: int, t: int | None = None) -> float:
    first, second, third, fourth = sorted(z, reverse=True)[:4]
    if t is None:
        best_other = second if z[y] == first else first
        return -(z[y] - best_other) / (first - third)
    return -(z[y] - z[t]) / (first - (third + fourth) / 2)


def test_it_is_the_formula_of_the_paper():
    logits, y = rows()
    target = (y + 1) % K
    for i, row in enumerate(logits.double().tolist()):
        one = slice(i, i + 1)
        row64 = logits.double()[one]
        assert float(dlr(row64, y[one])) == pytest.approx(by_hand(row, int(y[i])), rel=1e-9)
        assert float(dlr(row64, y[one], target[one])) == pytest.approx(
            by_hand(row, int(y[i]), int(target[i])), rel=1e-9
        )


def test_correct_rows_lie_between_minus_one_and_zero_and_wrong_ones_above():
    logits, y = rows(1)
    values, correct = dlr(logits, y), logits.argmax(dim=1) == y
    assert 0 < int(correct.sum()) < B
    assert ((values[correct] >= -1) & (values[correct] <= 0)).all()
    assert (values[~correct] > 0).all()


def test_targeted_values_of_correct_rows_of_four_classes_lie_between_minus_two_and_zero():
    logits = rows(2)[0][:, :4]
    y = logits.argmax(dim=1)
    values = dlr(logits, y, (y + 1) % 4)
    assert ((values >= -2) & (values <= 0)).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_shift_and_positive_scale_of_the_logits_do_not_matter(targeted):
    logits, y = rows(3)
    logits = logits.double()
    target = (y + 1) % K if targeted else None
    torch.testing.assert_close(dlr(7.5 * logits - 3, y, target), dlr(logits, y, target))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_ties_give_zero_and_never_nan(dtype):
    logits = torch.tensor([[1.0, 1, 0, 0], [2.0, 2, 2, 2], [3.0, 3, 3, 1]], dtype=dtype)
    y = torch.tensor([1, 2, 0])
    logits.requires_grad_()
    values = dlr(logits, y)
    assert values.tolist() == [0.0, 0.0, 0.0]
    values.sum().backward()
    assert logits.grad.isfinite().all()
    assert dlr(logits, y, (y + 1) % 4).isfinite().all()


def test_three_logits_tied_above_the_label_give_a_finite_positive_value():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        logits = torch.tensor([[2.0, 2.0, 2.0, 1.0]], dtype=dtype)
        assert dlr(logits, torch.tensor([3])) > 0
        assert not dlr(logits, torch.tensor([3])).isnan().any()


def test_gradients_agree_with_finite_differences():
    logits, y = rows(4)
    logits = logits[:7].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: dlr(z, y[:7]), logits)
    assert torch.autograd.gradcheck(lambda z: dlr(z, y[:7], (y[:7] + 1) % K), logits)


def test_a_row_does_not_depend_on_its_neighbours():
    logits, y = rows(5)
    for i in range(5):
        assert dlr(logits[i : i + 1], y[i : i + 1]) == dlr(logits, y)[i]


def test_the_object_and_the_function_agree():
    logits, y = rows(6)
    assert (DLR()(logits, y) == dlr(logits, y)).all()


@pytest.mark.parametrize(("classes", "targeted"), [(2, False), (3, True)])
def test_too_few_classes_are_refused(classes, targeted):
    y = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match=f"at least {classes + 1} classes"):
        dlr(torch.zeros(3, classes), y, y if targeted else None)


def test_as_many_classes_as_it_says_are_enough():
    y = torch.tensor([0])
    assert dlr(torch.tensor([[1.0, 0.5, 0.0]]), y) == -0.5
    assert dlr(torch.tensor([[4.0, 2.0, 1.0, 1.0]]), y, y + 1) == pytest.approx(-2 / 3)
