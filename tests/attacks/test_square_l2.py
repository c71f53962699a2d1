import math

import pytest
import torch

from holdfast.attacks.rows import Rows
from holdfast.attacks.square import Square
from holdfast.attacks.square_l2 import bump, propose_l2, pyramid
from holdfast.attacks.square_update import Update
from holdfast.core.random import Keys
from holdfast.threats import L2

B = 40


def rows_of(attack, x, threat):
    zero = torch.zeros(len(x), dtype=torch.int64)
    index = torch.arange(len(x))
    rows = Rows(index, zero, zero, zero, Keys.of(0, index), x, x, zero, None, threat)
    rows.point = attack.begin(rows)
    return rows


def proposed(attack, rows):
    best = rows.memory["best"]
    return propose_l2(rows, attack._plan(rows), attack.update, attack._draw(rows), best.clone())


def nested_squares(height, width):
    """The construction of the released code: squares around the centre, each adding a term."""
    value = torch.zeros(height, width, dtype=torch.float64)
    row, column = height // 2, width // 2
    for each in range(max(height, width) // 2 + 1):
        rows = slice(max(row - each, 0), row + each + 1)
        value[rows, max(column - each, 0) : column + each + 1] += 1 / (each + 1) ** 2
    return value


@pytest.mark.parametrize(("height", "width"), [(8, 4), (9, 5), (9, 4), (3, 1), (1, 1), (1, 6)])
def test_the_pyramid_is_made_of_nested_squares(height, width):
    assert torch.allclose(pyramid(height, width, 2), nested_squares(height, width))


def test_the_published_values_of_side_eight():
    column = pyramid(8, 4, 2)[:, 2]
    expected = [0.0400, 0.1025, 0.2136, 0.4636, 1.4636, 0.4636, 0.2136, 0.1025]
    assert column.tolist() == pytest.approx(expected, abs=5e-5)
    both = torch.cat([pyramid(8, 4, 2), -pyramid(8, 4, 2)], dim=1)
    assert float(both.norm()) == pytest.approx(2.984633, abs=1e-6)


@pytest.mark.parametrize("side", [3, 4, 8, 9])
def test_a_bump_is_antisymmetric_and_positive_first(side):
    eta, turned = bump(side, side, p=2, single=False, normalize_halves=False)
    assert torch.equal(turned, eta.T)
    assert float(eta.norm()) == pytest.approx(1)
    half = side // 2
    assert bool((eta[:, :half] > 0).all())
    assert bool((eta[:, half:] < 0).all())
    if side % 2 == 0:
        assert torch.allclose(eta[:, :half], -eta[:, half:])


def test_halves_may_have_one_norm():
    eta = bump(9, 9, p=2, single=False, normalize_halves=True)[0]
    assert float(eta[:, :4].norm()) == pytest.approx(math.sqrt(0.5))
    plain = bump(9, 9, p=2, single=False, normalize_halves=False)[0]
    assert float(plain[:, :4].norm()) != pytest.approx(math.sqrt(0.5), abs=1e-3)


def test_a_row_of_features_has_one_orientation():
    eta, turned = bump(1, 6, p=2, single=False, normalize_halves=False)
    assert torch.equal(eta, turned)
    assert bool((eta[0, :3] > 0).all())


def test_a_single_bump_has_one_sign():
    assert bool((bump(5, 5, p=2, single=True, normalize_halves=False) > 0).all())


def test_the_start_is_a_centred_grid_of_norm_eps():
    x = torch.full((B, 2, 12, 11), 0.5)
    point = rows_of(Square(), x, L2(0.7)).point
    move = point - x
    assert torch.allclose(move.flatten(1).norm(dim=1), torch.tensor(0.7), atol=1e-6)
    touched = (move != 0).any(dim=0).any(dim=0)
    assert touched[1:11, :10].all()
    assert int(touched.sum()) == 100
    tiles = move[:, :, 1:11, :10].unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert torch.allclose(tiles.norm(dim=4), torch.tensor(0.7 / math.sqrt(50)), atol=1e-6)


@pytest.mark.parametrize("spread", ["gaussian", "uniform", "vertical"])
def test_other_starts_have_norm_eps(spread):
    x = torch.full((B, 2, 7, 6), 0.5)
    move = rows_of(Square(update=Update(spread=spread)), x, L2(0.7)).point - x
    assert torch.allclose(move.flatten(1).norm(dim=1), torch.tensor(0.7), atol=1e-6)
    if spread != "gaussian":
        assert torch.allclose(move.abs(), torch.tensor(0.7 / math.sqrt(84)))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bump", ["pair", "single", "random"])
@pytest.mark.parametrize("p_init", [0.1, 0.8])  # mostly apart, mostly overlapping windows
def test_the_norm_is_eps_whatever_the_windows(channels, bump, p_init):
    """Proposition 3.4.1: no box, so that nothing is clipped."""
    x = torch.rand(B, channels, 8, 7, generator=torch.Generator().manual_seed(0)).double()
    attack = Square(queries=10_000, p_init=p_init, update=Update(bump=bump))
    rows = rows_of(attack, x, L2(1.5, box=None))
    for _ in range(20):
        rows.point = rows.memory["best"] = proposed(attack, rows)
        rows.step = rows.step + 1
        norms = (rows.point - x).flatten(1).norm(dim=1)
        assert torch.allclose(norms, torch.full_like(norms, 1.5), rtol=1e-12)


def test_what_clipping_loses_comes_back():
    x = torch.rand(B, 2, 8, 7, generator=torch.Generator().manual_seed(0)).double()
    attack = Square(queries=10_000, p_init=0.3)
    rows = rows_of(attack, x, L2(1.0))
    lost = []
    for _ in range(20):
        before = rows.memory["best"] - x
        rows.threat = L2(1.0, box=None)  # the proposal before its clipping
        unclipped = proposed(attack, rows)
        assert torch.allclose(
            (unclipped - x).flatten(1).norm(dim=1), torch.ones(B).double(), rtol=1e-12
        )
        rows.threat = L2(1.0)
        rows.memory["best"] = proposed(attack, rows)
        assert torch.equal(rows.memory["best"], unclipped.clamp(0, 1))
        rows.step = rows.step + 1
        lost.append(float(1 - before.flatten(1).norm(dim=1).min()))
    assert max(lost) > 0.01


def test_the_second_window_is_emptied_first():
    """Algorithm 3 by hand, for one example and channel after the other."""
    channels = 2
    x = torch.full((B, channels, 8, 7), 0.5).double()
    attack = Square(queries=10_000, p_init=0.25)
    rows = rows_of(attack, x, L2(0.8, box=None))
    rows.memory["best"] = rows.memory["best"] * 0.9 + 0.05  # some norm unused
    draw, plan = attack._draw(rows), attack._plan(rows)
    given = (rows.memory["best"] - x).clone()
    found = proposed(attack, rows) - x
    for b in range(B):
        nu = given[b].clone()
        tall, wide = draw.size[b].tolist()
        (t1, l1), (t2, l2) = draw.corners[b].tolist()
        one = (slice(t1, t1 + tall), slice(l1, l1 + wide))
        two = (slice(t2, t2 + tall), slice(l2, l2 + wide))
        either = torch.zeros(8, 7, dtype=torch.bool)
        either[one] = either[two] = True
        unused = 0.64 - float(nu.square().sum())
        etas = bump(tall, wide, p=2, single=False, normalize_halves=False)
        for i in range(channels):
            rho = 1 if int(draw.words[b, i]) >= 0 else -1
            size = nu[i][one].norm()
            tmp = rho * etas[int(draw.words[b, -1]) & 1] + (nu[i][one] / size if size else 0)
            available = (nu[i][either].square().sum() + unused / channels).sqrt()
            nu[i][two] = 0
            nu[i][one] = tmp / tmp.norm() * available
        assert torch.allclose(found[b], nu)
    assert plan.shape == (2, 8, 7)


def test_an_opposite_bump_is_turned_over():
    """Where nu[W1] = -rho eta the sum is zero; the other sign is taken."""
    x = torch.full((B, 1, 8, 7), 0.5).double()
    attack = Square(queries=10_000, p_init=1.0)
    rows = rows_of(attack, x, L2(0.8, box=None))
    draw = attack._draw(rows)
    etas = bump(7, 7, p=2, single=False, normalize_halves=False)
    for b in range(B):
        top, left = draw.corners[b, 0].tolist()
        sign = 1 if int(draw.words[b, 0]) >= 0 else -1
        nu = torch.zeros(8, 7).double()
        nu[top : top + 7, left : left + 7] = -0.8 * sign * etas[int(draw.words[b, -1]) & 1]
        rows.memory["best"][b, 0] = 0.5 + nu
    found = proposed(attack, rows) - x
    assert torch.allclose(found, rows.memory["best"] - x)
