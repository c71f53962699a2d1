"""What every attack promises, over the catalogue: a new attack is tested before its own tests.

Attacks on moved images take `Spatial` alone, the others norm balls; `noise` has its own threats in
`tests/attacks/test_worst_of.py`. What a threat or a missing package refuses is skipped.
"""

import math

import pytest
import torch

from holdfast.attacks import ATTACKS, PGD, Attack
from holdfast.core.errors import InputError, MissingExtra, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.losses import Margin
from holdfast.threats import L0, L1, L2, Linf
from nets import examples, small_net
from small_attacks import MOVED, SMALL, home

torch.set_num_threads(1)
VARIANTS = dict(SMALL)
VARIANTS["pgd multi"] = lambda: PGD(steps=3, restarts=2, targeting="multi", most_targets=2)
VARIANTS["pgd momentum"] = lambda: PGD(steps=4, restarts=1, momentum=0.75, start="clean")
BALLS = {
    "linf": Linf(0.03),
    "l2": L2(0.2),
    "l1": L1(1.5),
    "l0": L0(7),
    "l0 of pixels": L0(4, per="pixel"),
    "linf bare": Linf(0.03, box=None),
    "l2 in another box": L2(0.4, box=(-1.0, 2.0)),
    "l2 per example": L2(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])),
    "linf per feature": Linf(torch.linspace(0, 0.1, 84).reshape(1, 2, 7, 6)),
}
SIMILAR = ("linf bare", "l2 in another box", "l0 of pixels")
THREATS = BALLS | {"spatial": MOVED}
# One attack of each kind meets the similar threats in the fast tests, the others in the slow ones.
SPREAD = ("fgsm-rs", "pgd", "apgd-ce", "fab", "square", "boundary", "pointwise", "one-pixel")
# A query of these takes a tenth of a second, whatever the threat.
HEAVY = {"bayes": ("linf", "l2 per example")}


def takes(name, threat):
    """Whether a pair is worth a row; others are refused, or too slow."""
    moves = name.startswith("spatial-")
    return moves == (threat == "spatial") and threat in HEAVY.get(name, THREATS)


def marks(name, kind=""):
    return [pytest.mark.slow] if name in HEAVY or (kind in SIMILAR and name not in SPREAD) else []


PAIRS = [(name, threat) for name in VARIANTS for threat in THREATS if takes(name, threat)]
OTHERS = [(name, kind) for name, kind in PAIRS if kind not in SIMILAR]
SMALLEST = [name for name in ATTACKS if getattr(SMALL[name](), "smallest", False)]
each_name = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks(name)) for name in VARIANTS]
)


def over(pairs):
    """Rows of a test, one for each attack and threat."""
    rows = [pytest.param(name, kind, marks=marks(name, kind)) for name, kind in pairs]
    return pytest.mark.parametrize(("name", "kind"), rows, ids=map(" in ".join, pairs))


each_pair = over(PAIRS)


def run(attack, net, x, y, threat, seed=0, block=3, **options):
    index = options.pop("index", torch.arange(len(x)))
    frozen = FrozenModel(net, block=block)
    try:
        return attack.run(frozen, x, y, threat, keys=Keys.of(seed, index), **options)
    except (UnsupportedThreat, MissingExtra) as refusal:
        pytest.skip(f"refused: {refusal}")


def answer(*args, **options):
    """The result, or None and why the input was refused."""
    try:
        return run(*args, **options), ""
    except InputError as refusal:
        return None, str(refusal)


def inside(threat, result, x):
    """Whether the points are in the threat: to 1e-6 of its radius and box, by another way."""
    if result.params is not None:
        return bool(threat.contains(result.x_adv, x, result.params).all())
    assert bool(threat.contains(result.x_adv, x).all())
    moved = (result.x_adv - x).flatten(1).double()
    if threat.p == 0:
        moved = (result.x_adv != x).any(dim=1) if threat.per == "pixel" else result.x_adv != x
        length = moved.flatten(1).sum(dim=1)
    elif getattr(threat.radius, "ndim", 0) > 1:
        return bool((moved.abs() <= threat.radius.flatten(1) + 1e-6).all())
    else:
        length = torch.linalg.vector_norm(moved, ord=threat.p, dim=1)
    low, high = threat.box or (-math.inf, math.inf)
    assert bool(((result.x_adv >= low - 1e-6) & (result.x_adv <= high + 1e-6)).all())
    return bool((length <= torch.as_tensor(threat.radius) + 1e-6).all())


def margins(net, x, y):
    with torch.no_grad():
        return Margin()(net(x), y).neg()


def test_the_catalogue_is_covered():
    assert set(SMALL) == set(ATTACKS)
    assert {type(SMALL[name]()) for name in ATTACKS} == {type(ATTACKS[n].load()()) for n in ATTACKS}


@each_name
def test_is_an_attack_and_hashes(name):
    attack = VARIANTS[name]()
    assert isinstance(attack, Attack)
    assert hash(attack) == hash(type(attack)(**vars(attack)))
    assert repr(attack).startswith(type(attack).__name__)


@each_pair
def test_stays_in_the_threat_and_tells_the_truth(name, kind):
    net, threat = small_net(), THREATS[kind]
    x, y = examples(5, net, wrong=1)
    before = x.clone()
    result = run(VARIANTS[name](), net, x, y, threat)
    assert torch.equal(x, before)
    assert inside(threat, result, x)
    with torch.no_grad():
        wrong = net(result.x_adv).argmax(1) != y
    assert torch.equal(result.success, wrong)
    assert result.outcome[0] == Outcome.MISCLASSIFIED
    assert torch.equal(result.x_adv[0], x[0])
    assert torch.equal(result.outcome == Outcome.BROKEN, wrong & (result.outcome != 1))
    assert torch.equal(result.margin <= 0, wrong)
    assert bool((result.margin <= margins(net, x, y) + 1e-5).all())
    assert torch.allclose(result.margin, margins(net, result.x_adv, y), atol=1e-5)
    if result.params is None:
        assert torch.allclose(result.size, threat.size(result.x_adv, x))


@over(OTHERS)
@pytest.mark.slow
def test_same_keys_same_answer_in_another_order(name, kind):
    net, attack, threat = small_net(), VARIANTS[name](), THREATS[kind]
    x, y = examples(5, net)
    one = run(attack, net, x, y, threat)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = run(attack, net, x[order], y[order], threat.rows(order), index=order)
    assert torch.equal(one.x_adv[order], turned.x_adv)
    assert torch.equal(one.forwards[order], turned.forwards)
    assert torch.equal(one.backwards[order], turned.backwards)


@each_name
@pytest.mark.slow
def test_float64_agrees_with_float32(name):
    net, attack, threat = small_net(), VARIANTS[name](), home(name)
    x, y = examples(5, net)
    single = run(attack, net, x, y, threat)
    double = run(attack, small_net().double(), x.double(), y, threat)
    assert double.x_adv.dtype == torch.float64
    assert torch.equal(single.success, double.success)
    # A sign may flip where a gradient is rounding noise: margins agree where points do. A process
    # that is fitted to losses ends at a point nearby.
    near = 1e-2 if name == "bayes" else 1e-3
    assert torch.allclose(single.margin.double(), double.margin, atol=near)


@each_name
def test_zero_radius_finds_only_what_is_wrong_already(name):
    net, threat = small_net(), home(name)
    x, y = examples(6, net, wrong=2)
    threat = type(threat)() if name.startswith("spatial-") else threat.at(0)
    result = run(VARIANTS[name](), net, x, y, threat)
    assert result.success.tolist() == [True, True, False, False, False, False]
    assert torch.equal(result.x_adv, x)


@each_name
def test_works_on_vectors_and_on_few_classes_or_says_why_not(name):
    model = torch.nn.Linear(6, 2)
    x, y = torch.rand(3, 6), torch.tensor([0, 1, 1])
    threat = home(name) if home(name).kind != "l0" else L0(2)
    result, refusal = answer(VARIANTS[name](), model, x, y, threat)
    assert "classes" in refusal or "image" in refusal or result.x_adv.shape == (3, 6)


@each_name
@pytest.mark.slow
def test_layout_of_memory_does_not_matter(name):
    net, attack, threat = small_net(), VARIANTS[name](), home(name)
    x, y = examples(5, net)
    plain = run(attack, net, x, y, threat)
    last = run(attack, net, x.to(memory_format=torch.channels_last), y, threat)
    assert torch.equal(plain.success, last.success)


@each_name
def test_targets_are_what_counts_or_are_refused(name):
    net = small_net()
    x, y = examples(5, net)
    targets = (y + torch.tensor([0, 1, 2, 1, 2])) % 5
    result, refusal = answer(VARIANTS[name](), net, x, y, home(name), targets=targets)
    if refusal:
        assert "targets" in refusal
        return
    with torch.no_grad():
        reached = net(result.x_adv).argmax(1) == targets
    assert torch.equal(result.success, reached)
    assert bool(result.success[0])
    assert torch.equal(result.x_adv[0], x[0])


class Remembering(torch.nn.Module):
    """A network that keeps every input it was asked about."""

    def __init__(self, net):
        super().__init__()
        self.net, self.asked = net, []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return self.net(x)


@pytest.mark.parametrize("kind", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.slow
def test_smallest_successes_are_kept_at_an_infinite_radius(name, kind):
    net, threat = small_net(), BALLS[kind].at("inf")
    x, y = examples(3, net, seed=2)
    for row in range(3):
        own = x[row : row + 1], y[row : row + 1]
        model = Remembering(net)
        result = run(SMALL[name](), model, *own, threat, index=[row], block=1)
        points = torch.cat(model.asked)
        fooled = points[margins(net, points, own[1].expand(len(points))) <= 0]
        assert bool(result.success) == bool(len(fooled))
        if len(fooled):
            sizes = threat.size(fooled, own[0].expand_as(fooled))
            assert float(result.size) == pytest.approx(float(sizes.min()), rel=1e-5)


@pytest.mark.parametrize("kind", ["linf", "l2", "l1", "l0"])
@pytest.mark.parametrize("name", SMALLEST)
@pytest.mark.slow
def test_smallest_successes_hold_at_their_own_radius(name, kind):
    """With a radius a little larger than the size found without one, a success is found again."""
    net, attack, free = small_net(), SMALL[name](), BALLS[kind].at("inf")
    x, y = examples(5, net)
    found = run(attack, net, x, y, free)
    radius = found.size * 1.001 + (kind == "l0")
    again = run(attack, net, x, y, free.at(radius.floor() if kind == "l0" else radius))
    assert bool((again.success >= found.success).all())
    assert bool((again.size <= radius + 1e-6).all())
