from itertools import product

import pytest
import torch

from holdfast.certify.operators.activations import Arctan, LeakyReLU, Sigmoid, Tanh
from holdfast.certify.operators.structural import Clamp, ReLU
from holdfast.certify.rounding import Box
from holdfast.certify.solvers.relations import between_lines, by_choice, by_pieces, largest

PIECES = [
    ReLU(),
    LeakyReLU(0.2),
    LeakyReLU(-1.0),
    LeakyReLU(3.0),
    Clamp(-0.5, 0.7),
    Clamp(0.1, None),
    Clamp(None, -0.2),
]
SMOOTH = [Sigmoid(), Tanh(), Arctan()]


def crossing(op, count, seed=0):
    """Boxes in which the operation is not decided."""
    generator = torch.Generator().manual_seed(seed)
    low, width = torch.rand(2, 40 * count, generator=generator).double()
    box = Box(-1.5 * low, 0.05 - 1.5 * low + 3 * width)
    open_ = torch.ones_like(low, dtype=torch.bool) if op in SMOOTH else op.undecided(box)
    return Box(*(end[open_][:count] for end in box))


def within(blocks, point, room=1e-12):
    """Whether a point (numbers by column) satisfies each row; by unit, the first column."""
    good = {}
    for block in blocks:
        total = (torch.where(block.columns >= 0, point[block.columns], 0.0) * block.values).sum(1)
        fine = (total >= block.lower - room) & (total <= block.upper + room)
        assert not block.values.isnan().any()
        for row, ok in zip(block.columns, fine.tolist(), strict=True):
            unit = int(row[(row >= 0) & (row < 9)].min())
            good[unit] = good.get(unit, True) and ok
    return good


@pytest.mark.parametrize("op", PIECES + SMOOTH, ids=repr)
def test_every_value_lies_between_the_lines(op):
    box = crossing(op, 9)
    own, y, z = op.interval([box], None, rigorous=True), torch.arange(9), torch.arange(9, 18)
    blocks = between_lines(op, box, own, y, z)
    for share in torch.linspace(0, 1, 41).double():
        at = torch.lerp(box.lower, box.upper, share)
        assert all(within(blocks, torch.cat([op.forward([at], None), at])).values())


def test_the_lines_of_a_relu_are_its_triangle():
    box, own = Box(*torch.tensor([[-1.0], [3.0]]).double()), Box(*torch.tensor([[0.0], [3.0]]))
    blocks = between_lines(ReLU(), box, own, torch.tensor([0]), torch.tensor([1]))
    rows = sorted(row for block in blocks for row in block.values.tolist())
    assert rows == [[1.0, -1.0], [1.0, pytest.approx(-0.75)]]
    for at, low, high in ((-1.0, 0.0, 0.0), (0.0, 0.0, 0.75), (3.0, 3.0, 3.0)):
        for value in torch.linspace(-0.5, 3.5, 81).double():
            inside = low - 1e-9 <= value <= high + 1e-9
            tied = within(blocks, torch.tensor([value, at]).double(), 1e-9)
            assert inside == (tied[0] and value >= own.lower)


def counter(start, box):
    """Makes columns, and remembers how many."""
    taken = [start]

    def fresh(count):
        taken.append(taken[-1] + count)
        return torch.arange(*taken[-2:])

    return fresh, taken


@pytest.mark.parametrize("op", PIECES, ids=repr)
def test_pieces_admit_the_value_and_nothing_else(op):
    box = crossing(op, 1, seed=4)
    own, (y, z) = op.interval([box], None, rigorous=True), torch.arange(2).split(1)
    fresh, taken = counter(2, box)
    blocks = by_pieces(op, box, own, y, z, fresh)
    for share in torch.linspace(0, 1, 21).double():
        at = torch.lerp(box.lower, box.upper, share)
        value = op.forward([at], None)
        for move in (0.0, 0.01, -0.01):
            points = (
                torch.cat([value + move, at, torch.tensor(bits).double()])
                for bits in product((0.0, 1.0), repeat=taken[-1] - 2)
            )
            found = any(all(within(blocks, point, 1e-9).values()) for point in points)
            assert found == (move == 0.0)


def test_a_clamp_with_both_bends_inside_has_two_binaries():
    box, own = Box(*torch.tensor([[-2.0], [2.0]]).double()), Box(*torch.tensor([[-0.5], [0.7]]))
    fresh, taken = counter(2, box)
    by_pieces(Clamp(-0.5, 0.7), box, own, torch.tensor([0]), torch.tensor([1]), fresh)
    assert taken[-1] == 4


LOWS = torch.tensor([[0.0, -1.0, 0.4], [0.0, -2.0, -torch.inf]]).double()
HIGHS = torch.tensor([[1.0, 2.0, 0.8], [0.5, 1.5, -torch.inf]]).double()
X = torch.tensor([[2, 3, 4], [5, 6, -1]])


def choices(count, seed=7):
    """Points of the boxes of the candidates, half of them corners; columns 2 to 6."""
    low, high = (torch.cat([end[0], end[1, :2]]) for end in (LOWS, HIGHS))
    u = torch.rand(count, 5, generator=torch.Generator().manual_seed(seed)).double()
    u[::2] = u[::2].round()
    return torch.lerp(low, high, u)


def test_every_maximum_lies_between_the_planes():
    blocks = largest(LOWS, HIGHS, torch.tensor([0, 1]), X)
    for x in choices(200):
        y = torch.stack([x[:3].max(), x[3:].max()])
        assert all(within(blocks, torch.cat([y, x])).values())


def test_two_planes_are_the_hull_of_a_maximum_of_two():
    """Above every point of the hull's upper side there is nothing: it is a mean of corners."""
    low, high = LOWS[1, :2], HIGHS[1, :2]
    blocks = largest(LOWS[1:, :2], HIGHS[1:, :2], torch.tensor([0]), torch.tensor([[1, 2]]))
    corners = torch.tensor(list(product(*zip(low.tolist(), high.tolist(), strict=True)))).double()
    tops = corners.amax(1)
    for corner, top in zip(corners, tops, strict=True):
        assert within(blocks, torch.cat([top.view(1), corner]))[0]
        assert not within(blocks, torch.cat([top.view(1) + 1e-6, corner]))[0]


def test_a_choice_admits_the_maximum_and_nothing_else():
    fresh, taken = counter(7, None)
    blocks = by_choice(LOWS, HIGHS, torch.tensor([0, 1]), X, fresh)
    assert taken[-1] == 12
    for x in choices(12):
        y = torch.stack([x[:3].max(), x[3:].max()])
        for move, wanted in ((0.0, True), (0.02, False), (-0.02, False)):
            found = False
            for bits in product((0.0, 1.0), repeat=5):
                point = torch.cat([y + move, x, torch.tensor(bits).double()])
                rows = [block for block in blocks if (block.columns < 7).any()]
                ones = blocks[-1]
                total = torch.where(ones.columns >= 0, point[ones.columns], 0.0).sum(1)
                found |= bool((total == 1).all()) and all(
                    within([row for row in rows if row is not ones], point, 1e-9).values()
                )
            assert found == wanted
