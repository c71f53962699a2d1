import torch

from holdfast.training.objectives.carried import carried, kept


def test_without_a_past_it_is_zero():
    assert not carried(None, torch.rand(3, 2)).any()


def test_a_smaller_batch_uses_and_leaves_the_first_slots_only():
    state = kept(torch.full((4, 2), 1.0), None)
    assert torch.equal(carried(state, torch.rand(2, 2)), torch.ones(2, 2))
    after = kept(torch.full((2, 2), 5.0), state)
    assert after["previous"][:, 0].tolist() == [5.0, 5.0, 1.0, 1.0]


def test_a_larger_batch_starts_at_zero_where_nothing_was_kept():
    state = kept(torch.full((1, 2), 1.0), None)
    assert carried(state, torch.rand(3, 2))[:, 0].tolist() == [1.0, 0.0, 0.0]


def test_images_of_another_size_start_afresh():
    state = kept(torch.full((4, 1, 3, 3), 1.0), None)
    assert not carried(state, torch.rand(2, 1, 5, 5)).any()
    assert kept(torch.ones(2, 1, 5, 5), state)["previous"].shape == (2, 1, 5, 5)
