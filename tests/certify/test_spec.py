import pytest
import torch

from holdfast.certify import margin_rows
from holdfast.core.errors import InputError


def test_rows_give_the_margins_over_the_other_classes_in_order():
    y = torch.tensor([0, 4, 2])
    logits = torch.arange(15.0).view(3, 5).sin()
    rows = margin_rows(y, 5)
    assert rows.shape == (3, 4, 5)
    found = (rows @ logits.unsqueeze(2)).squeeze(2)
    for row, label in enumerate(y.tolist()):
        others = [j for j in range(5) if j != label]
        assert torch.equal(found[row], logits[row, label] - logits[row, others])


def test_two_classes_and_no_examples():
    assert margin_rows(torch.tensor([1]), 2).tolist() == [[[-1.0, 1.0]]]
    assert margin_rows(torch.zeros(0, dtype=torch.long), 3).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("y", "classes", "message"),
    [
        (torch.tensor([0, 5]), 5, r"^y=5: is not a class of 5; use 0 to 4$"),
        (torch.tensor([-1, 2]), 5, r"^y=-1"),
        (torch.tensor([0.0]), 5, r"^y=.*float32"),
        (torch.tensor([[0]]), 5, r"^y=.*shape \(1, 1\)"),
        (torch.tensor([0]), 1, r"^classes=1"),
    ],
)
def test_bad_labels_are_named(y, classes, message):
    with pytest.raises(InputError, match=message):
        margin_rows(y, classes)
