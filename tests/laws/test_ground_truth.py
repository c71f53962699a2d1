"""What attacks find agrees with brute force, where two inputs can be looked at exhaustively.

A grid of 201 x 201 points covers the ball around an input of two features. A network's margin
changes by at most L d between points at distance d: around a point whose margin is above L times
half a cell's diagonal, nothing errs. Other cells are cut into 5 x 5 smaller ones, until none is
left (robust: no attack may succeed) or a member of the ball is found whose margin is clearly
negative (broken: strong attacks have to succeed). What is neither is left out.
"""

import math

import pytest
import torch

from holdfast.attacks import APGD, FAB, PGD, fab_t
from holdfast.core.errors import InputError, MissingExtra, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses import Margin
from holdfast.threats import L1, L2, Linf
from small_attacks import SMALL

pytestmark = pytest.mark.slow

torch.set_num_threads(1)
CLEAR, ROUNDS, MOST = 0.01, 3, 30_000
BALLS = {"linf": Linf(0.04), "l2": L2(0.05), "l1": L1(0.06)}
STRONG = {
    "pgd-50-10": PGD(steps=50, restarts=10),
    "pgd multi": PGD(steps=50, restarts=3, targeting="multi"),
    "apgd-margin": APGD(steps=50, loss=Margin(), restarts=5),
    "fab": FAB(steps=50, restarts=3),
    "fab-t": fab_t(50, 2),
}


def crooked_net():
    """A ReLU network from two inputs to three classes; each unit has its crease in the box."""
    generator = torch.Generator().manual_seed(17)
    layers = [
        torch.nn.Linear(*sizes, dtype=torch.float64) for sizes in ((2, 32), (32, 32), (32, 3))
    ]
    points = torch.rand(400, 2, generator=generator).double()
    with torch.no_grad():
        for layer in layers:
            scale = math.sqrt(2 / layer.in_features)
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * scale)
            out = points @ layer.weight.T
            pick = torch.randint(400, (layer.out_features,), generator=generator)
            own = out[pick, torch.arange(layer.out_features)]
            layer.bias.copy_(-(out.mean(dim=0) if layer is layers[-1] else own))
            points = (out + layer.bias).relu()
    relu = torch.nn.ReLU()
    return torch.nn.Sequential(layers[0], relu, layers[1], relu, layers[2])


def steepness(net):
    """A Lipschitz constant of all margins, for Euclidean distances."""
    first, second, last = (layer.weight.detach() for layer in (net[0], net[2], net[4]))
    rows = (last[:, None] - last[None]).norm(dim=2).max()
    return float(rows * torch.linalg.matrix_norm(second, 2) * torch.linalg.matrix_norm(first, 2))


def margins(net, points, label):
    with torch.no_grad():
        return -Margin()(net(points), label.expand(len(points)))


def fine(centres, half, count):
    """The centres and half side of the cells (n, 2), each cut into count x count."""
    steps = (torch.arange(count).double() - (count - 1) / 2) * (2 / count)
    offsets = torch.cartesian_prod(steps, steps) * half
    return (centres[:, None] + offsets).reshape(-1, 2), half / count


def ground_truth(net, x, y, threat):
    """1 where x (1, 2) is broken, 0 where it is robust, -1 where neither was shown."""
    bound, radius = steepness(net), float(threat.radius)
    cells, half = fine(x, torch.full((2,), radius + 1e-5).double(), 201)
    for _ in range(ROUNDS):
        reach = threat.at(radius + 1e-5 + 2 * float(half[0]))
        cells = cells[reach.contains(cells.clamp(0, 1), x.expand_as(cells))]
        margin = margins(net, cells, y)
        members = threat.contains(cells, x.expand_as(cells))
        if bool((margin[members] < -CLEAR).any()):
            return 1
        cells = cells[margin <= bound * float(half.norm())]
        if len(cells) == 0:
            return 0
        if len(cells) > MOST:
            return -1
        cells, half = fine(cells, half, 5)
    return -1


@pytest.fixture(scope="module")
def truth():
    """Inputs, labels, and for each ball what brute force says."""
    net, generator = crooked_net(), torch.Generator().manual_seed(5)
    x = torch.rand(40, 2, generator=generator).double()
    with torch.no_grad():
        y = net(x).argmax(dim=1)
    rows = list(zip(x.split(1), y, strict=True))
    known = {
        kind: torch.tensor([ground_truth(net, *row, threat) for row in rows])
        for kind, threat in BALLS.items()
    }
    return net, x, y, known


def run(attack, net, x, y, threat):
    try:
        return attack.run(FrozenModel(net, block=16), x, y, threat, keys=Keys.of(0, range(len(x))))
    except (UnsupportedThreat, MissingExtra, InputError) as refusal:
        pytest.skip(f"refused: {refusal}")


@pytest.mark.parametrize("kind", BALLS)
def test_the_ground_truth_decides_most_inputs_both_ways(truth, kind):
    known = truth[3][kind].tolist()
    assert known.count(0) > 9
    assert known.count(1) > 9
    assert known.count(-1) < 5


@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("spatial-")])
def test_no_attack_succeeds_where_the_grid_shows_robustness(truth, name, kind):
    net, x, y, known = truth
    result = run(SMALL[name](), net, x, y, BALLS[kind])
    assert not bool(result.success[known[kind] == 0].any())


@pytest.mark.parametrize("kind", BALLS)
@pytest.mark.parametrize("name", STRONG)
def test_strong_attacks_succeed_where_the_grid_finds_an_error(truth, name, kind):
    net, x, y, known = truth
    result = run(STRONG[name], net, x, y, BALLS[kind])
    assert not bool(result.success[known[kind] == 0].any())
    assert bool(result.success[known[kind] == 1].all())
