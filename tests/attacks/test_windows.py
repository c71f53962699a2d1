import pytest
import torch

from holdfast.attacks.windows import largest, windows

IMAGE = (7, 6)
SIZES = torch.tensor([[3, 2], [5, 4], [1, 6]])


def make(corners, *, padded=None, cyclic=False):
    padded = padded or largest(SIZES)
    return windows(torch.tensor(corners), SIZES, IMAGE, padded=padded, cyclic=cyclic)


def painted(where, window=0):
    image = torch.zeros(3, 2, 42)
    where.write(image, torch.ones(3, 2, where.local.shape[1]), window)
    return image.view(3, 2, *IMAGE)


def test_largest_is_by_axis():
    assert largest(SIZES) == (5, 6)


def test_writing_fills_the_window_and_nothing_else():
    image = painted(make([[[4, 4]], [[0, 1]], [[6, 0]]]))
    expected = torch.zeros(3, 2, *IMAGE)
    expected[0, :, 4:7, 4:6] = 1
    expected[1, :, 0:5, 1:5] = 1
    expected[2, :, 6, :] = 1
    assert torch.equal(image, expected)


def test_real_counts_the_pixels_of_a_window():
    assert make([[[0, 0]], [[1, 1]], [[2, 0]]]).real.sum(dim=1).tolist() == [6, 20, 6]


@pytest.mark.parametrize("padded", [(5, 6), (7, 6)])
def test_padding_repeats_pixels_of_the_window(padded):
    where = make([[[0, 0]], [[1, 1]], [[2, 0]]], padded=padded)
    image = torch.arange(84.0).view(1, 2, 42).expand(3, -1, -1)
    seen = where.of(image)
    for row in range(3):
        real = set(seen[row, 0, where.real[row]].tolist())
        assert set(seen[row, 0].tolist()) == real


def test_cyclic_windows_enter_at_the_other_side():
    image = painted(make([[[6, 5]], [[0, 0]], [[0, 0]]], cyclic=True))
    expected = torch.zeros(IMAGE)
    for row in (6, 0, 1):
        for column in (5, 0):
            expected[row, column] = 1
    assert torch.equal(image[0, 0], expected)


@pytest.mark.parametrize("cyclic", [False, True])
def test_outside_first_is_the_difference_of_sets(cyclic):
    where = make([[[2, 3], [3, 2]], [[0, 0], [2, 2]], [[4, 0], [5, 0]]], cyclic=cyclic)
    fresh = (painted(where, 1) * (1 - painted(where, 0)))[:, 0].sum(dim=(1, 2))
    assert torch.equal((where.real & where.outside_first).sum(dim=1).float(), fresh)


def test_two_windows_are_read_one_after_the_other():
    where = make([[[2, 3], [3, 2]], [[0, 0], [2, 2]], [[4, 0], [5, 0]]])
    image = torch.arange(42.0).view(1, 1, 42).expand(3, 2, -1)
    first, second = where.of(image)[:, 0].chunk(2, dim=1)
    assert first[:, 0].tolist() == [15, 0, 24]
    assert second[:, 0].tolist() == [20, 14, 30]
