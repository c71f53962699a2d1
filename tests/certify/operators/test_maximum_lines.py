import pytest
import torch
import torch.nn.functional as F

from certify.nets import inputs, samples
from holdfast.certify.operators.maximum_lines import parallel_selection, scattered, selection_of
from holdfast.certify.operators.selections import Maximum, MaxPool, Minimum
from holdfast.certify.rounding import Box

POOLS = {
    "pairs": (MaxPool(F.max_pool1d, (2, None, 0, 1, False)), (2, 7)),
    "strided": (MaxPool(F.max_pool2d, ((3, 2), 2, 1, 1, False)), (2, 7, 6)),
    "ceiling": (MaxPool(F.max_pool2d, (3, 2, 1, 1, True)), (2, 7, 6)),
    "dilated": (MaxPool(F.max_pool2d, (2, 1, 0, (2, 3), False)), (2, 7, 6)),
    "unread": (MaxPool(F.max_pool2d, (2, 3, 0, 1, False)), (2, 7, 6)),
    "volume": (MaxPool(F.max_pool3d, (2, 1, 0, 1, False)), (1, 3, 4, 2)),
}


def at_places(x, places):
    return x.flatten(1).gather(1, places.flatten(1)).view_as(places)


def ends(selection, joined):
    """Both lines at numbers (B, n)."""
    low, below, high, above = selection.lines
    lower = low * at_places(joined, selection.lower_place) + below
    return lower, high * at_places(joined, selection.upper_place) + above


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("scale", [0.0, 1e-310, 0.05, 1.0, 1e300])
@pytest.mark.parametrize("select", [selection_of, parallel_selection])
def test_lines_enclose_the_maxima_of_windows(name, scale, select):
    op, shape = POOLS[name]
    x, width = inputs(3, shape) - 0.5, inputs(3, shape, seed=4)
    if scale in (1e-310, 1e300):
        x = x * scale
    box = Box(x - scale * width, x + scale * width)
    selection = select(op, [box])
    assert (selection.lower_place >= 0).all()
    for point in samples(*box, 60):
        lower, upper = ends(selection, point)
        value, size = op.forward([point], None), 1e-15 * scale
        assert ((lower <= value + size) & (value <= upper + size)).all()


def test_a_number_that_dominates_is_the_maximum():
    low = torch.tensor([[0.0, 2.0, 1.0, 1.0]], dtype=torch.float64).unsqueeze(1)
    high = torch.tensor([[1.0, 3.0, 4.0, 1.5]], dtype=torch.float64).unsqueeze(1)
    selection = selection_of(POOLS["pairs"][0], [Box(low, high)])
    assert selection.lower_place.tolist() == [[[1, 2]]]
    assert selection.upper_place.tolist() == [[[1, 2]]]
    slope, intercept = selection.lines[2:]
    assert (slope[0, 0, 0], intercept[0, 0, 0]) == (1, 0)
    assert slope[0, 0, 1].item() == pytest.approx(2.5 / 3)  # max(z, 1.5) on [1, 4]
    assert intercept[0, 0, 1].item() == pytest.approx(1.5 - 2.5 / 3)
    assert intercept[0, 0, 1].item() + 4 * slope[0, 0, 1].item() == pytest.approx(4)


def test_parallel_lines_have_slope_one_in_one_number():
    """The largest lower end, and above it what another may exceed it by."""
    low = torch.tensor([[0.0, 2.0, 1.0, 1.2]], dtype=torch.float64).unsqueeze(1)
    high = torch.tensor([[1.0, 3.0, 4.0, 1.5]], dtype=torch.float64).unsqueeze(1)
    selection = parallel_selection(POOLS["pairs"][0], [Box(low, high)])
    assert torch.equal(selection.lower_place, selection.upper_place)
    assert selection.lower_place.tolist() == [[[1, 3]]]
    assert selection.lines.lower_intercept.tolist() == [[[0, 0]]]
    assert selection.lines.upper_intercept.flatten().tolist() == pytest.approx([0, 4 - 1.2])
    assert (selection.lines.lower_slope == 1).all()
    assert (selection.lines.upper_slope == 1).all()


@pytest.mark.parametrize("select", [selection_of, parallel_selection])
@pytest.mark.parametrize("op", [Maximum(), Minimum()])
def test_two_inputs_that_broadcast(op, select):
    first, second = inputs(3, (2, 5)), inputs(3, (2, 1), seed=4)
    boxes = [Box(first - 0.2, first + 0.1), Box(second - 0.1, second + 0.2)]
    selection = select(op, boxes)
    one, two = (samples(*box, 60, seed=i) for i, box in enumerate(boxes))
    for a, b in zip(one, two, strict=True):
        lower, upper = ends(selection, torch.cat([a.flatten(1), b.flatten(1)], 1))
        value = op.forward([a, b], None)
        assert ((lower <= value + 1e-14) & (value <= upper + 1e-14)).all()
    assert selection.lower_place.amax() >= 10
    assert selection.lines.lower_slope.shape == (3, 2, 5)


def test_points_are_exact():
    x = inputs(3, (2, 7, 6))
    op = POOLS["strided"][0]
    for select in (selection_of, parallel_selection):
        for line in ends(select(op, [Box(x, x)]), x):
            assert torch.equal(line, op.forward([x], None))


def test_rows_go_to_the_numbers_that_are_selected():
    """<rows, x at places> = <scattered rows, x>, with windows that overlap."""
    op, shape = POOLS["strided"]
    x = inputs(3, shape)
    places = selection_of(op, [Box(x - 0.1, x + 0.1)]).lower_place
    rows = inputs(3, tuple(places.shape[1:]), seed=6)
    back = scattered(rows, places, x[0].numel())
    assert back.shape == (3, 84)
    first = (rows * at_places(x, places)).flatten(1).sum(1)
    torch.testing.assert_close(first, (back * x.flatten(1)).sum(1))
