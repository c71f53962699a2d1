import pytest
import torch
from torch.nn.functional import conv2d

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.toys.shapes import count_windows, most_windows, polyominoes, raster

FIXED = [1, 2, 6, 19, 63, 216, 760, 2725, 9910, 36446]  # OEIS A001168


def best_of_polyominoes(area, size):
    best, number = 0, 0
    for cells in polyominoes(area):
        inside = set(cells)
        number += 1
        windows = sum(
            all((r + i, c + j) in inside for i in range(size) for j in range(size))
            for r, c in cells
        )
        best = max(best, windows)
    assert number == FIXED[area - 1]
    return best


def test_known_values_of_the_formula():
    assert [most_windows(k, 2) for k in range(4, 11)] == [1, 1, 2, 2, 3, 4, 4]
    assert [most_windows(k, 3) for k in (9, 10, 16, 25)] == [1, 1, 4, 9]


@pytest.mark.parametrize("side", range(2, 9))
def test_a_square_attains_the_formula_at_its_area(side):
    for size in range(2, side + 1):
        square = torch.ones(side, side, dtype=torch.bool)
        assert most_windows(side**2, size) == (side - size + 1) ** 2
        assert count_windows(square, size).item() == most_windows(side**2, size)


@pytest.mark.parametrize("area", range(4, 60))
def test_the_stated_shape_attains_the_formula(area):
    a = int(area**0.5)
    b, r = divmod(area, a)
    shape = torch.zeros(a + 1, b, dtype=torch.bool)
    shape[:a] = True
    shape[a, : min(r, b)] = True
    assert int(shape.sum()) == area
    for size in range(2, a + 1):
        assert count_windows(shape, size).item() == most_windows(area, size)


@pytest.mark.parametrize(
    "area", [4, 5, 6, 7, 8, *(pytest.param(k, marks=pytest.mark.slow) for k in (9, 10))]
)
@pytest.mark.parametrize("size", [2, 3])
def test_no_polyomino_holds_more_windows(area, size):
    if area < size**2:
        assert best_of_polyominoes(area, size) == 0
    else:
        assert best_of_polyominoes(area, size) == most_windows(area, size)


def test_no_set_of_pixels_of_a_grid_holds_more_windows():
    height, width = 4, 5
    sets = torch.arange(2 ** (height * width))
    areas = sum((sets >> i) & 1 for i in range(height * width))
    for size in (2, 3, 4):
        count = torch.zeros_like(sets)
        for r in range(height - size + 1):
            for c in range(width - size + 1):
                window = sum(1 << (r + i) * width + c + j for i in range(size) for j in range(size))
                count += (sets & window) == window
        for area in range(size**2, 21):
            assert int(count[areas == area].max()) == most_windows(area, size)


def test_windows_are_the_outputs_that_a_filter_of_ones_saturates():
    support = Keys.of(0, range(7)).uniform((6, 5)) < 0.8
    for size in (2, 3):
        output = conv2d(support.double()[:, None], torch.ones(1, 1, size, size).double())
        saturated = (output == size**2).flatten(1).sum(dim=1)
        assert torch.equal(count_windows(support, size), saturated)
    assert count_windows(support, 6).tolist() == [0] * 7  # wider than the image


@pytest.mark.parametrize("area", range(1, 8))
def test_polyominoes_are_all_and_once(area):
    found = {frozenset(map(tuple, raster(cells).nonzero().tolist())) for cells in polyominoes(area)}
    assert len(found) == sum(1 for _ in polyominoes(area)) == FIXED[area - 1]
    assert {len(each) for each in found} == {area}


def test_a_raster_is_the_smallest_image():
    image = raster(((0, 0), (1, 0), (1, -1)))
    assert image.tolist() == [[False, True], [True, True]]


def test_bad_input_is_named():
    with pytest.raises(InputError, match="area=3: holds no window"):
        most_windows(3, 2)
    with pytest.raises(InputError, match="size=1: is no window"):
        most_windows(9, 1)
