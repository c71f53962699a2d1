import pytest
import torch
from torch import nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.lockstep import LockstepAttack
from holdfast.attacks.noise import NoiseSearch
from holdfast.attacks.pgd import PGD
from holdfast.attacks.protocol import Finished, Tick
from holdfast.attacks.spatial import SpatialGradient, SpatialGrid, SpatialRandom
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.threats import L2, Linf
from holdfast.threats.noise import Gaussian, SaltAndPepper, UniformL2, UniformLinf
from holdfast.threats.spatial import Spatial
from nets import examples, small_net

torch.set_num_threads(1)
MOVED = Spatial(rotation=30, translation=2, scale=0.2, flip=True)
CASES = {
    "grid": (SpatialGrid(rotations=5, shifts=3), MOVED),
    "random": (SpatialRandom(samples=7), MOVED),
    "gradient": (SpatialGradient(steps=4, restarts=3), MOVED),
    "crop": (SpatialRandom(samples=7), Spatial(crop=2, padding="reflect", scale=0.1)),
    "gaussian": (NoiseSearch(samples=7), Gaussian(0.1)),
    "bare": (NoiseSearch(samples=7), Gaussian(0.1, box=None)),
    "uniform-linf": (NoiseSearch(samples=7), UniformLinf(0.2)),
    "uniform-l2": (NoiseSearch(samples=7), UniformL2(1.5)),
    "salt-pepper": (NoiseSearch(samples=7), SaltAndPepper(0.1)),
    "ball": (NoiseSearch(samples=7), L2(torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0]))),
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


def run(attack, net, x, y, threat, *, index=None, block=3, **options):
    index = torch.arange(len(x)) if index is None else index
    frozen = FrozenModel(net, block=block)
    return attack.run(frozen, x, y, threat, keys=Keys.of(0, index), **options)


def inside(threat, result, x):
    args = () if result.params is None else (result.params,)
    return threat.contains(result.x_adv, x, *args)


def test_tells_the_truth_and_stays_in_the_threat(case):
    attack, threat = case
    assert isinstance(attack, Attack)
    assert hash(attack) == hash(type(attack)(**vars(attack)))
    net = small_net()
    x, y = examples(5, net, wrong=1)
    before = x.clone()
    result = run(attack, net, x, y, threat)
    wrong = net(result.x_adv).argmax(1) != y
    assert torch.equal(x, before)
    assert bool(inside(threat, result, x).all())
    assert torch.equal(result.success, wrong)
    assert torch.equal(result.margin <= 0, wrong)
    assert bool((result.margin <= torch.topk(net(x), 2).values.diff().abs()[:, 0] + 1e-5).all())
    assert result.outcome[0] == Outcome.MISCLASSIFIED
    assert result.forwards[0] == 1
    assert torch.equal(result.x_adv[0], x[0])
    if result.params is not None:
        assert torch.equal(result.params[0], threat.identity(x)[0])
        assert torch.equal(result.size, threat.size(result.params))
        assert torch.equal(threat.apply(result.params, x), result.x_adv)


def test_other_examples_do_not_matter(case):
    attack, threat = case
    net = small_net()
    x, y = examples(5, net)
    whole = run(attack, net, x, y, threat)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = run(attack, net, x[order], y[order], threat.rows(order), index=order)
    part = run(attack, net, x[2:4], y[2:4], threat.rows(torch.tensor([2, 3])), index=[2, 3])
    for name in ("x_adv", "margin", "success", "size", "forwards", "backwards", "params"):
        column = getattr(whole, name)
        if column is not None:
            assert torch.equal(column[order], getattr(turned, name)), name
            assert torch.equal(column[2:4], getattr(part, name)), name


@pytest.mark.parametrize("block", [1, 2, 5, 64, None])
@pytest.mark.slow
def test_tries_made_ahead_change_nothing(case, block):
    attack, threat = case
    net = small_net()
    x, y = examples(5, net)
    one, other = run(attack, net, x, y, threat), run(attack, net, x, y, threat, block=block)
    assert torch.equal(one.success, other.success)
    assert torch.equal(one.forwards, other.forwards)
    assert torch.equal(one.backwards, other.backwards)
    assert torch.allclose(one.x_adv, other.x_adv, atol=1e-5)


def test_float64_agrees(case):
    attack, threat = case
    x, y = examples(5, small_net())
    single = run(attack, small_net(), x, y, threat)
    double = run(attack, small_net().double(), x.double(), y, threat)
    assert double.x_adv.dtype == torch.float64
    assert torch.equal(single.success, double.success)
    assert torch.allclose(single.margin.double(), double.margin, atol=1e-3)
    assert bool(inside(threat, double, x.double()).all())


def test_counts_what_the_model_computed(case):
    attack, threat = case
    net = small_net()
    x, y = examples(5, net)
    frozen = FrozenModel(net, block=4)
    result = attack.run(frozen, x, y, threat, keys=Keys.of(0, range(5)))
    computed = frozen.passes.forwards + frozen.passes.padding
    assert int(result.forwards.sum()) + result.padding == computed
    tries, moves = attack.tries(threat), attack.moves
    assert bool((result.forwards <= 2 + tries * (moves + 1)).all())
    lasting = ~result.success
    assert bool((result.forwards[lasting] == 1 + tries * (moves + 1)).all())
    assert bool((result.backwards[lasting] == tries * moves).all())


class Ramp(nn.Module):
    """Class 1 where the mean of the input exceeds a level; the k-th try is the first to do so."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, x):
        mean = x.flatten(1).mean(dim=1) - self.level
        return torch.stack([torch.zeros_like(mean), mean], dim=1)


class Counting:
    """A threat whose draw of number n is n + 1 everywhere."""

    box = None

    def sample(self, x, *, keys, step=0):
        return torch.zeros_like(x) + (torch.as_tensor(step) + 1.0).view(-1, 1)

    def contains(self, x_adv, x):
        return (x_adv >= 0).flatten(1).all(dim=1)

    def size(self, x_adv, x):
        return (x_adv - x).flatten(1).amax(dim=1)

    def rows(self, which):
        return self


@pytest.mark.parametrize("block", [1, 4, 7])
def test_the_first_success_is_the_answer(block):
    x, y = torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64)
    result = run(NoiseSearch(samples=20), Ramp(5.5), x, y, Counting(), block=block)
    assert result.x_adv[:, 0].tolist() == [6.0] * 3
    assert result.forwards.tolist() == [1 + 6 + 1] * 3
    result = run(NoiseSearch(samples=5), Ramp(5.5), x, y, Counting(), block=block)
    assert result.x_adv[:, 0].tolist() == [5.0] * 3
    assert not result.success.any()
    assert result.forwards.tolist() == [1 + 5] * 3
    assert torch.allclose(result.margin, torch.full((3,), 0.5))


def test_targets_are_what_counts():
    net = small_net()
    x, y = examples(5, net)
    targets = net(x).topk(2).indices[:, 1]
    result = run(NoiseSearch(samples=60), net, x, y, UniformLinf(0.3), targets=targets)
    assert result.success.any()
    assert torch.equal(result.success, net(result.x_adv).argmax(1) == targets)
    with pytest.raises(InputError, match="classes"):
        run(NoiseSearch(), net, x, y, Gaussian(0.1), targets=targets + 9)


def test_a_start_is_the_first_try_where_the_threat_can_project():
    net = small_net()
    x, y = examples(5, net)
    threat = Linf(0.1)
    found = PGD(steps=9, restarts=1).run(net, x, y, threat)
    assert found.success.any()
    result = run(NoiseSearch(samples=1), net, x, y, threat, start=found.x_adv)
    assert torch.equal(result.success, found.success)
    for attack, other in (CASES["gaussian"], CASES["grid"]):
        with pytest.raises(InputError, match="start"):
            run(attack, net, x, y, other, start=x)


def test_a_success_that_does_not_hold_is_taken_back():
    class Once(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            wrong = self.calls == 2
            return torch.tensor([[0.0, 1.0] if wrong else [1.0, 0.0]]).expand(len(x), -1)

    x, y = torch.full((3, 4), 0.5), torch.zeros(3, dtype=torch.int64)
    result = run(NoiseSearch(samples=1), Once(), x, y, Gaussian(0.1))
    assert not result.success.any()
    assert torch.equal(result.x_adv, x)
    assert result.outcome.tolist() == [Outcome.UNDECIDED] * 3


def test_a_point_outside_of_the_threat_is_no_answer():
    class Leaky(Gaussian):
        def contains(self, x_adv, x):
            return (x_adv == x).flatten(1).all(dim=1)

    net = small_net()
    x, y = examples(5, net)
    result = run(NoiseSearch(samples=9), net, x, y, Leaky(0.5))
    assert torch.equal(result.x_adv, x)
    assert not result.success.any()


def test_events_tell_every_example_once():
    net = small_net()
    x, y = examples(5, net)
    events = []
    result = run(SpatialRandom(), net, x, y, MOVED, on_event=events.append)
    done = [event for event in events if isinstance(event, Finished)]
    assert torch.cat([event.rows for event in done]).tolist() == list(range(5))
    assert torch.equal(torch.cat([event.result.params for event in done]), result.params)
    assert any(isinstance(event, Tick) for event in events)


def test_input_that_does_not_fit_is_refused():
    net = small_net()
    x, y = examples(5, net)
    with pytest.raises(InputError, match="y="):
        run(NoiseSearch(), net, x, y[:3], Gaussian(0.1))
    with pytest.raises(InputError, match="outside"):
        run(NoiseSearch(), net, x * 3, y, Gaussian(0.1))


@pytest.mark.parametrize("threat", [MOVED, Gaussian(0.1)], ids=str)
def test_attacks_of_balls_refuse_threats_without_projection(threat):
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(UnsupportedThreat, match=type(threat).__name__):
        PGD(steps=2).run(net, x, y, threat)


class Straight(LockstepAttack):
    def walk(self, oracle):
        oracle.ask(oracle.x)


@pytest.mark.parametrize("threat", [MOVED, Gaussian(0.1)], ids=str)
def test_lockstep_attacks_refuse_them_as_well(threat):
    net = small_net()
    x, y = examples(3, net)
    assert Straight().run(net, x, y, Linf(0.1)).forwards.tolist() == [2] * 3
    with pytest.raises(UnsupportedThreat, match=type(threat).__name__):
        Straight().run(net, x, y, threat)
