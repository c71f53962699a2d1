import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from holdfast.attacks.square import Square, released_square
from holdfast.attacks.square_update import Update
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.recipes import build, to_dict
from holdfast.losses.margin import Margin
from holdfast.threats import L0, L1, L2, Linf
from nets import examples, small_net

THREATS = [Linf(0.05), L2(0.3), L1(1.5)]


@pytest.fixture(params=THREATS, ids=["linf", "l2", "l1"])
def threat(request):
    return request.param


def run(attack, net, x, y, threat, seed=0, block=3, index=None, **options):
    keys = Keys.of(seed, torch.arange(len(x)) if index is None else index)
    return attack.run(FrozenModel(net, block=block), x, y, threat, keys=keys, **options)


class Recorder(nn.Module):
    """A net that keeps what it was asked."""

    def __init__(self, net):
        super().__init__()
        self.net, self.asked = net, []

    def forward(self, x):
        self.asked.append(x.clone())
        return self.net(x)


def robust(threat):
    """An example that stands, so that all queries are made."""
    net = small_net()
    x, y = examples(5, net)
    found = run(Square(queries=30), net, x, y, threat)
    at = int((~found.success).nonzero()[0])
    return net, x[at : at + 1], y[at : at + 1]


def test_every_queried_point_is_in_the_threat(threat):
    net, x, y = robust(threat)
    recorder = Recorder(net)
    run(Square(queries=30), recorder, x, y, threat, block=1)
    asked = torch.cat(recorder.asked)
    assert len(asked) == 31  # the clean input, then 30 queries
    assert bool(threat.contains(asked, x.expand_as(asked)).all())


def test_the_best_loss_never_falls_and_proposals_start_from_it(threat):
    net, x, y = robust(threat)
    recorder = Recorder(net)
    attack = Square(queries=60)
    result = run(attack, recorder, x, y, threat, block=1)
    asked = torch.cat(recorder.asked)[1:]
    with torch.no_grad():
        losses = attack.objective(net(asked), y.expand(len(asked)))
    assert float(result.loss) == pytest.approx(float(losses.max()), abs=1e-5)
    best = 0
    side = 6  # the largest window
    for i in range(1, len(asked)):
        changed = (asked[i] != asked[best]).any(dim=0).nonzero()
        if threat.p == math.inf and len(changed):
            assert int((changed.amax(0) - changed.amin(0)).max()) < side
        if losses[i] > losses[best]:
            best = i
    if threat.p == math.inf:
        window = (asked[-1] != asked[best]).flatten(1).any(dim=0).sum()
        assert int(window) <= 4  # late proposals change little


def test_misclassified_inputs_are_left_alone(threat):
    net = small_net()
    x, y = examples(5, net, wrong=2)
    result = run(Square(queries=10), net, x, y, threat)
    assert torch.equal(result.x_adv[:2], x[:2])
    assert result.forwards[:2].tolist() == [1, 1]
    assert bool((result.forwards <= 12).all())
    assert int(result.backwards.sum()) == 0


def test_no_gradient_is_needed(threat):
    net = small_net()
    x, y = examples(5, net)

    def by_numpy(z):
        with torch.no_grad():
            return torch.from_numpy(net(z).numpy())

    one = run(Square(queries=20), by_numpy, x, y, threat)
    assert torch.equal(one.x_adv, run(Square(queries=20), net, x, y, threat).x_adv)


@pytest.mark.parametrize("update", [Update(), Update(bump="random", shape="random")])
def test_an_example_does_not_depend_on_its_neighbours(threat, update):
    net = small_net()
    x, y = examples(5, net)
    attack = Square(queries=40, restarts=2, rescale=False, update=update)  # sides 6 and 4
    together = run(attack, net, x, y, threat)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = run(attack, net, x[order], y[order], threat, index=order)
    assert torch.equal(together.x_adv[order], turned.x_adv)
    assert torch.equal(together.forwards[order], turned.forwards)
    alone = run(attack, net, x[2:3], y[2:3], threat, index=torch.tensor([2]))
    assert torch.equal(together.x_adv[2:3], alone.x_adv)


def test_robust_accuracy_never_rises_with_restarts_or_queries():
    net = small_net()
    x, y = examples(40, net)
    found = [
        run(Square(queries=20, restarts=restarts, rescale=False), net, x, y, Linf(0.1), block=16)
        for restarts in (1, 3)
    ]
    assert bool((found[0].success <= found[1].success).all())
    assert int(found[0].success.sum()) < int(found[1].success.sum())
    longer = run(Square(queries=60, rescale=False), net, x, y, Linf(0.1), block=16)
    assert bool((longer.loss >= found[0].loss - 1e-6)[~longer.success].all())
    assert bool((found[0].success <= longer.success).all())


@pytest.mark.slow
def test_a_linear_model_is_taken_to_its_optimum():
    """min over k of (w_y - w_k) x - eps ||w_y - w_k||_1, where the box does not bind."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(84, 3, bias=False))
    weight = torch.randn(3, 84, generator=torch.Generator().manual_seed(0))
    x = torch.full((4, 2, 7, 6), 0.5)
    with torch.no_grad():
        net[1].weight.copy_(weight)
        y = net(x).argmax(1)
        net[1].weight[y[0]] += 0.5  # far from the boundary, so that nothing ends early
        logits = net(x)
        row = net[1].weight
        gaps = [
            logits[0, y[0]] - logits[0, k] - 0.05 * (row[y[0]] - row[k]).abs().sum()
            for k in range(3)
            if k != int(y[0])
        ]
    optimum = float(min(gaps))
    result = run(Square(queries=1200, p_init=0.3), net, x, y, Linf(0.05), block=4)
    assert optimum > 0
    assert bool((result.margin >= optimum - 1e-4).all())
    assert bool((result.margin <= optimum + 0.05 * (float(logits[0].max()) - optimum)).all())


@pytest.mark.slow
def test_targeted_runs_use_cross_entropy_and_reach_the_target(threat):
    net = small_net()
    x, y = examples(9, net)
    targets = (y + 1) % 5
    attack = Square(queries=150)
    logits = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0, 1, 2, 4])
    expected = -cross_entropy(logits, t, reduction="none")
    assert torch.allclose(attack.objective(logits, t, t), expected)
    result = run(attack, net, x, y, threat.at(threat.radius * 8), targets=targets)
    with torch.no_grad():
        reached = net(result.x_adv).argmax(1) == targets
    assert torch.equal(result.success, reached)
    assert int(reached.sum()) > 0


def test_a_given_start_is_continued_from(threat):
    net, x, y = robust(threat)
    recorder = Recorder(net)
    start = threat.sample(x, keys=Keys.of(5, [0]))
    run(Square(queries=8, p_init=0.1), recorder, x, y, threat, block=1, start=start)
    asked = torch.cat(recorder.asked)[1:]
    assert torch.allclose(asked[0], threat.project(start, x)[0])
    changed = (asked[1] != asked[0]).any(dim=0).sum()
    if threat.p != 1:  # l1 with several channels projects, which moves all pixels
        assert int(changed) <= (1 if threat.p == math.inf else 2) * 9


def test_radii_of_examples_and_other_boxes():
    net = small_net()
    x, y = examples(4, net)
    for threat in (L2(torch.tensor([0.0, 0.1, 0.4, 0.8])), Linf(0.05, box=(-1.0, 2.0)), L1(2.0)):
        result = run(Square(queries=20), net, x, y, threat)
        assert bool(threat.contains(result.x_adv, x).all())
    zero = run(Square(queries=10), net, x, y, Linf(0.0))
    assert not bool(zero.success.any())
    assert torch.equal(zero.x_adv, x)


@pytest.mark.parametrize("shape", [(12,), (7, 6)])
def test_feature_rows_and_single_planes(shape, threat):
    size = math.prod(shape)
    net = nn.Sequential(nn.Flatten(), nn.Linear(size, 2))
    x, y = examples(4, net, shape=shape)
    result = run(Square(queries=40), net, x, y, threat)
    assert bool(threat.contains(result.x_adv, x).all())
    assert int(run(Square(queries=40), net, x, y, threat.at(20.0)).success.sum()) > 0


@pytest.mark.slow
def test_squares_with_channel_signs_need_fewest_queries():
    """The order of the ablation: square < random pixels, on a net with local filters."""
    net = small_net()
    x, y = examples(60, net)
    mean = {}
    for shape, signs in (("square", "channel"), ("random", "pixel")):
        attack = Square(queries=150, p_init=0.2, update=Update(shape=shape, signs=signs))
        result = run(attack, net, x, y, Linf(0.08), block=32)
        mean[shape] = float(result.forwards.float().mean())
    assert mean["square"] < mean["random"]


def test_what_is_refused():
    net = small_net()
    x, y = examples(2, net)
    weights = torch.rand(1, 2, 7, 6)
    for threat in (L2(weights), L1(weights), Linf(math.inf), L0(3)):
        with pytest.raises(UnsupportedThreat, match="Square"):
            run(Square(queries=5), net, x, y, threat)
    with pytest.raises(InputError, match="queries"):
        Square(queries=1)
    with pytest.raises(InputError, match="p_init"):
        Square(p_init=0.0)


def test_recipes_carry_every_choice():
    attack = Square(queries=7, loss=Margin(), update=Update(signs="single"))
    assert build(Square, {"queries": 7, "loss": "margin", "update": {"signs": "single"}}) == attack
    assert build(Square, to_dict(Square(queries=9))) == Square(queries=9)
    released = released_square(100)
    assert (released.schedule, released.rescale) == ("released", False)
    assert released.update.positions == "released"
