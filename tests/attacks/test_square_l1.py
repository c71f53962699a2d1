import pytest
import torch

from holdfast.attacks.rows import Rows
from holdfast.attacks.square import Square
from holdfast.attacks.square_l1 import propose_l1
from holdfast.attacks.square_l2 import bump
from holdfast.core.random import Keys
from holdfast.threats import L1

B = 40


def rows_of(attack, x, threat):
    zero = torch.zeros(len(x), dtype=torch.int64)
    index = torch.arange(len(x))
    rows = Rows(index, zero, zero, zero, Keys.of(0, index), x, x, zero, None, threat)
    rows.point = attack.begin(rows)
    return rows


def proposed(attack, rows):
    best = rows.memory["best"]
    return propose_l1(rows, attack._plan(rows), attack.update, attack._draw(rows), best.clone())


def test_a_bump_has_unit_l1_norm_and_a_sharp_peak():
    eta = bump(9, 9, p=1, single=False, normalize_halves=True)[0]
    assert float(eta.abs().sum()) == pytest.approx(1)
    assert float(eta[:, :4].sum()) == pytest.approx(0.5)
    soft = bump(9, 9, p=2, single=False, normalize_halves=True)[0]
    soft = soft / soft.abs().sum()
    assert float(eta.max()) > 1.5 * float(soft.max())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("p_init", [0.1, 0.8])
def test_the_norm_is_eps_whatever_the_windows(channels, p_init):
    x = torch.rand(B, channels, 8, 7, generator=torch.Generator().manual_seed(0)).double()
    attack = Square(queries=10_000, p_init=p_init)
    rows = rows_of(attack, x, L1(3.0, box=None))
    for _ in range(20):
        norms = (rows.point - x).flatten(1).abs().sum(dim=1)
        assert torch.allclose(norms, torch.full_like(norms, 3.0), rtol=2e-6)
        rows.point = rows.memory["best"] = proposed(attack, rows)
        rows.step = rows.step + 1


@pytest.mark.parametrize("channels", [1, 3])
def test_points_stay_in_ball_and_box(channels):
    x = torch.rand(B, channels, 8, 7, generator=torch.Generator().manual_seed(0))
    attack, threat = Square(queries=10_000, p_init=0.3), L1(3.0)
    rows = rows_of(attack, x, threat)
    for _ in range(30):
        assert bool(threat.contains(rows.point, x).all())
        rows.point = rows.memory["best"] = proposed(attack, rows)
        rows.step = rows.step + 1


def test_the_start_is_the_projected_grid():
    x = torch.full((B, 1, 12, 11), 0.5)
    move = rows_of(Square(), x, L1(5.0)).point - x
    assert torch.allclose(move.flatten(1).abs().sum(dim=1), torch.tensor(5.0))
    tiles = move[:, 0, 1:11, :10].unfold(1, 2, 2).unfold(2, 2, 2).flatten(3).abs().sum(dim=3)
    assert torch.allclose(tiles, torch.tensor(0.2), atol=1e-5)  # 25 equal tiles
