import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data.checks import check_inputs, check_labels, check_limit


def test_inputs_in_the_box_come_back_as_float32():
    x = torch.tensor([[0.0, 1.0], [0.25, 0.5]], dtype=torch.float64)
    assert torch.equal(check_inputs(x), x.float())
    assert check_inputs(x * 4 - 2, box=(-2, 2)).dtype == torch.float32
    assert torch.equal(check_inputs(x * 100, box=None), x.float() * 100)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.tensor([[0.0, -0.1]]), "normalisation"),
        (torch.tensor([[0.0, 1.001]]), r"lie outside \[0, 1\]"),
        (torch.tensor([[0.0, 254.0]]), "divide by 255"),
        (torch.tensor([[0.5], [float("nan")]]), "example 1: holds NaN"),
        (torch.tensor([[0.5], [0.5], [float("inf")]]), "example 2: holds NaN or infinity"),
        (torch.zeros(0, 3), "is empty"),
        (torch.zeros(3, 0), "is empty"),
        (torch.zeros(3), "has no features"),
        (torch.zeros(3, 2, dtype=torch.int64), "is not float"),
    ],
)
def test_bad_inputs_are_refused_in_one_line(x, said):
    with pytest.raises(InputError, match=said) as caught:
        check_inputs(x)
    assert "\n" not in str(caught.value)


def test_an_infinite_input_is_refused_without_a_box():
    with pytest.raises(InputError, match="infinity"):
        check_inputs(torch.tensor([[-float("inf")]]), box=None)


def test_labels_come_back_as_int64():
    assert check_labels(torch.tensor([0, 4], dtype=torch.uint8), 5, rows=2).dtype == torch.int64


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (torch.tensor([0, 1, 5]), "label 5 of example 2: is not one of 5 classes; give 0 to 4"),
        (torch.tensor([0, -1, 2]), "label -1 of example 1: is negative"),
        (torch.tensor([0.0, 1.0, 2.0]), "is not whole numbers"),
        (torch.tensor([True, False, True]), "is not whole numbers"),
        (torch.tensor([0, 1]), "does not fit 3 inputs"),
        (torch.zeros(3, 5), "argmax"),
        (torch.zeros(3, 1, dtype=torch.int64), r"shape \(N,\)"),
        (torch.tensor(2), r"shape \(N,\)"),
    ],
)
def test_bad_labels_are_refused(y, said):
    with pytest.raises(InputError, match=said):
        check_labels(y, 5, rows=3)


def test_no_labels_are_refused():
    with pytest.raises(InputError, match="is empty"):
        check_labels(torch.zeros(0, dtype=torch.int64))


def test_limit():
    assert check_limit(3, 3) == 3
    with pytest.raises(InputError, match="limit=4: is more than the 3 examples; give 1 to 3"):
        check_limit(4, 3)
