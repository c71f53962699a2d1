import pytest
import torch

from holdfast.attacks.square_schedule import plan
from holdfast.attacks.square_update import Draw, Update, flips
from holdfast.core.errors import InputError
from holdfast.core.random import Keys

B = 4000
STEP = torch.full((B,), 3)
PLAN = plan(
    (2, 7, 6),
    torch.device("cpu"),
    queries=100,
    p_init=0.25,
    schedule="thesis",
    rescale=False,
    least=1,
    odd=False,
)


def drawn(count=1, **options):
    return Update(**options).draw(Keys.of(0, range(B)), STEP, PLAN, count)


@pytest.mark.parametrize(
    ("positions", "rows", "columns"), [("thesis", 5, 4), ("released", 4, 3), ("cyclic", 7, 6)]
)
def test_corners_are_uniform(positions, rows, columns):
    draw = drawn(positions=positions)
    assert draw.size.tolist() == [[3, 3]] * B
    place = draw.corners[:, 0, 0] * columns + draw.corners[:, 0, 1]
    counts = torch.bincount(place, minlength=rows * columns)
    assert len(counts) == rows * columns
    expected = B / len(counts)
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 2.2 * len(counts)  # chi-square, false alarm below 1 in 1000, keys fixed


def test_a_draw_is_a_function_of_key_and_step_alone():
    update, keys = Update(), Keys.of(0, range(5))
    step = torch.tensor([0, 4, 4, 7, 20])
    together = update.draw(keys, step, PLAN, 2).packed
    for row in range(5):
        alone = update.draw(keys[row : row + 1], step[row : row + 1], PLAN, 2).packed
        assert torch.equal(together[row : row + 1], alone)


def test_packing_keeps_everything():
    draw = drawn(count=2)
    back = Draw.unpacked(draw.packed, 2)
    for name in ("halvings", "size", "corners", "words", "flips"):
        assert torch.equal(getattr(back, name), getattr(draw, name))
    assert draw.corners.shape == (B, 2, 2)
    assert draw.words.shape == (B, 2)


def test_rectangles_keep_the_mean_side_and_fit():
    size = drawn(shape="rectangle").size
    assert int(size.min()) == 1
    assert int(size[:, 0].max()) == 7
    assert int(size[:, 1].max()) == 6
    # E min(3 Exp(1), 7 or 6) = 3 (1 - exp(-7/3)) and 3 (1 - exp(-2)); rounding to >= 1 adds a bit
    assert abs(float(size[:, 0].float().mean()) - 2.76) < 0.2
    assert abs(float(size[:, 1].float().mean()) - 2.64) < 0.2


def test_random_pixels_are_as_many_and_distinct():
    update, keys = Update(shape="random"), Keys.of(0, range(B))
    draw = update.draw(keys, STEP, PLAN, 1)
    place = update.pixels(draw, keys, STEP, PLAN).place[:, 0]
    assert place.shape == (B, 9)
    assert all(len(set(row)) == 9 for row in place[:50].tolist())
    assert len(torch.unique(place)) == 42


def test_flips_follow_rejection_sampling():
    """All but the first pair of signs, with equal probability."""
    found = flips(Keys.of(0, range(3000)).bits(2))
    counts = torch.bincount(found[:, 0] * 2 + found[:, 1], minlength=4)
    assert counts[0] == 0
    assert bool(((counts[1:] - 1000).abs() < 130).all())  # 5 standard deviations
    assert bool((flips(Keys.of(0, range(9)).bits(1)) == 1).all())


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match="sqare"):
        Update(shape="sqare")
