import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.data.augment import Augment, Flip, PadCrop
from holdfast.training.memory import Memory
from holdfast.training.visit import Visit, visit_of


def visit(augment, params, places):
    memory = Memory(7, torch.device("cpu"))
    return Visit(places, 7, 0, 3, memory, augment, params, len(places))


def test_what_is_stored_is_seen_again_through_another_window():
    augment, shape = Augment(steps=(PadCrop(padding=2), Flip())), (2, 6, 5)
    keys, places = Keys.of(0, range(3)), torch.tensor([5, 0, 2])
    first = visit(augment, augment.draw(keys.fold(0), shape), places)
    again = visit(augment, augment.draw(keys.fold(1), shape), places)
    assert first.frame(shape) == (2, 10, 9)
    image = torch.rand(3, 10, 9)[:, None].expand(3, 2, 10, 9).clone()
    seen = first.carry(image)
    stored = first.store(torch.zeros_like(image), seen)
    assert torch.equal(first.carry(stored), seen)
    overlap = again.carry(stored) != 0
    assert overlap.any()
    assert torch.equal(again.carry(stored)[overlap], again.carry(image)[overlap])


def test_an_objective_that_needs_a_visit_says_so():
    with pytest.raises(InputError, match="is needed by ATAS"):
        visit_of(None, "ATAS")
