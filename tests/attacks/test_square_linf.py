import pytest
import torch

from holdfast.attacks.rows import Rows
from holdfast.attacks.square import Square
from holdfast.attacks.square_linf import propose_linf
from holdfast.attacks.square_update import Update
from holdfast.core.random import Keys
from holdfast.threats import Linf

B, SHAPE = 300, (3, 7, 6)
INSIDE = Linf(0.1)


def rows_of(attack, x, threat=INSIDE):
    zero = torch.zeros(len(x), dtype=torch.int64)
    index = torch.arange(len(x))
    rows = Rows(index, zero, zero, zero, Keys.of(0, index), x, x, zero, None, threat)
    rows.point = attack.begin(rows)
    return rows


def proposed(attack, rows):
    best = rows.memory["best"]
    return propose_linf(rows, attack._plan(rows), attack.update, attack._draw(rows), best.clone())


def grey(count=B):
    return torch.full((count, *SHAPE), 0.5)


@pytest.mark.parametrize(("stripes", "across"), [("vertical", 2), ("horizontal", 3)])
def test_the_start_is_stripes_of_width_one(stripes, across):
    move = rows_of(Square(update=Update(stripes=stripes)), grey()).point - 0.5
    assert torch.allclose(move.abs(), torch.tensor(0.1))
    assert torch.equal(move, move.narrow(across, 0, 1).expand_as(move))
    assert abs(float((move > 0).float().mean()) - 0.5) < 0.03


@pytest.mark.parametrize("stripes", ["vertical", "horizontal", "uniform", "squares"])
@pytest.mark.parametrize("box", [(0.0, 1.0), (-1.0, 2.0), None])
def test_every_feature_stays_at_a_face(stripes, box):
    x = torch.rand(B, *SHAPE, generator=torch.Generator().manual_seed(0))
    attack = Square(queries=50, p_init=0.3, update=Update(stripes=stripes))
    rows = rows_of(attack, x, Linf(0.1, box=box))
    low, high = x - 0.1, x + 0.1
    if box is not None:
        low, high = low.clamp_min(box[0]), high.clamp_max(box[1])
    for _ in range(20):
        assert bool((torch.isclose(rows.point, low) | torch.isclose(rows.point, high)).all())
        rows.point = rows.memory["best"] = proposed(attack, rows)
        rows.step = rows.step + 1


def test_a_proposal_changes_one_square_with_one_sign_per_channel():
    attack = Square(queries=10_000, p_init=0.25, update=Update(skip_noop=False))
    rows = rows_of(attack, grey())
    rows.memory["best"] = grey()  # off the faces: every pixel of the window then changes
    move = proposed(attack, rows) - 0.5
    assert torch.equal((move != 0).flatten(1).sum(dim=1), torch.full((B,), 3 * 3 * 3))
    for each in move[:40]:
        assert len(each.unique()) <= 3
        for channel in each:
            assert len(channel[channel != 0].unique()) == 1
            assert channel.abs().amax() == pytest.approx(0.1)
            rows_in, columns_in = channel.nonzero().unbind(1)
            assert int(rows_in.max() - rows_in.min()) == 2
            assert int(columns_in.max() - columns_in.min()) == 2


def test_from_a_face_the_change_is_two_radii():
    attack = Square(queries=10_000, p_init=0.25)
    rows = rows_of(attack, grey())
    change = (proposed(attack, rows) - rows.point).abs()
    assert bool((torch.isclose(change, torch.tensor(0.2)) | (change == 0)).all())


def test_proposals_that_change_nothing_are_drawn_again():
    shape = (1, 7, 6)
    x = torch.full((B, *shape), 0.5)
    idle = {}
    for skip in (False, True):
        attack = Square(queries=10_000, p_init=0.25, update=Update(skip_noop=skip))
        rows = rows_of(attack, x)
        rows.memory["best"] = torch.full_like(x, 0.6)
        same = proposed(attack, rows) == rows.memory["best"]
        idle[skip] = float(same.flatten(1).all(dim=1).float().mean())
    assert abs(idle[False] - 0.5) < 0.1
    assert idle[True] == 0


@pytest.mark.parametrize(("signs", "kinds"), [("single", 1), ("channel", 2), ("pixel", 2)])
def test_signs(signs, kinds):
    attack = Square(queries=10_000, p_init=0.25, update=Update(signs=signs, skip_noop=False))
    rows = rows_of(attack, grey())
    rows.memory["best"] = grey()
    move = proposed(attack, rows) - 0.5
    found = [len(each[each != 0].unique()) for each in move]
    assert max(found) == kinds
    in_channel = [len(each[0][each[0] != 0].unique()) for each in move]
    assert max(in_channel) == (2 if signs == "pixel" else 1)


def test_p_multiple_is_the_cyclic_window_with_independent_signs():
    update = Update(signs="pixel", positions="cyclic", skip_noop=False)
    attack = Square(queries=10_000, p_init=0.25, update=update)
    rows = rows_of(attack, grey())
    rows.memory["best"] = grey()
    move = proposed(attack, rows) - 0.5
    assert torch.equal((move != 0).flatten(1).sum(dim=1), torch.full((B,), 27))
    hit = (move[:, 0] != 0).float().mean(dim=0)
    assert float((hit - 9 / 42).abs().max()) < 0.12  # every pixel equally often
