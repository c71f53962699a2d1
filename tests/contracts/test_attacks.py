"""What every attack promises, over the catalogue: a new attack is tested before its own tests."""

import pytest
import torch

from holdfast.attacks import APGD, ATTACKS, PGD, Attack, apgd_t
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.losses import DLR, Margin
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net

VARIANTS = {name: ATTACKS[name].load() for name in ATTACKS}
VARIANTS["pgd"] = lambda: PGD(steps=4, restarts=2)
VARIANTS["apgd-ce"] = lambda: APGD(steps=7)
VARIANTS["apgd-dlr"] = lambda: APGD(steps=7, loss=DLR())
VARIANTS["apgd-margin"] = lambda: APGD(steps=7, loss=Margin(), restarts=2)
VARIANTS["apgd-t"] = lambda: apgd_t(5, 2)
VARIANTS["pgd multi"] = lambda: PGD(steps=3, restarts=2, targeting="multi", most_targets=2)
VARIANTS["pgd momentum"] = lambda: PGD(steps=4, restarts=1, momentum=0.75, start="clean")
THREATS = {
    "linf": Linf(0.03),
    "l2": L2(0.2),
    "l1": L1(1.5),
    "linf bare": Linf(0.03, box=None),
    "l2 per example": L2(torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4])),
    "linf per feature": Linf(torch.linspace(0, 0.1, 84).reshape(1, 2, 7, 6)),
}


@pytest.fixture(params=list(VARIANTS))
def attack(request):
    return VARIANTS[request.param]()


@pytest.fixture(params=list(THREATS))
def threat(request):
    return THREATS[request.param]


def run(attack, net, x, y, threat, seed=0, **options):
    index = options.pop("index", torch.arange(len(x)))
    frozen = FrozenModel(net, block=3)
    try:
        return attack.run(frozen, x, y, threat, keys=Keys.of(seed, index), **options)
    except UnsupportedThreat as refusal:
        pytest.skip(f"refused: {refusal}")


def test_is_an_attack_and_hashes(attack):
    assert isinstance(attack, Attack)
    assert hash(attack) == hash(type(attack)(**vars(attack)))
    assert repr(attack).startswith(type(attack).__name__)


def test_stays_in_the_threat_and_tells_the_truth(attack, threat):
    net = small_net()
    x, y = examples(5, net, wrong=1)
    before = x.clone()
    result = run(attack, net, x, y, threat)
    assert torch.equal(x, before)
    assert bool(threat.contains(result.x_adv, x).all())
    with torch.no_grad():
        wrong = net(result.x_adv).argmax(1) != y
    assert torch.equal(result.success, wrong)
    assert result.outcome[0] == Outcome.MISCLASSIFIED
    assert torch.equal(result.x_adv[0], x[0])
    assert torch.equal(result.outcome == Outcome.BROKEN, wrong & (result.outcome != 1))
    assert torch.equal(result.margin <= 0, wrong)
    assert torch.allclose(result.size, threat.size(result.x_adv, x))


def test_same_keys_same_answer_other_order_same_answer(attack, threat):
    net = small_net()
    x, y = examples(5, net)
    one = run(attack, net, x, y, threat)
    assert torch.equal(one.x_adv, run(attack, net, x, y, threat).x_adv)
    order = torch.tensor([3, 0, 4, 1, 2])
    turned = run(attack, net, x[order], y[order], threat.rows(order), index=order)
    assert torch.equal(one.x_adv[order], turned.x_adv)
    assert torch.equal(one.forwards[order], turned.forwards)


def test_float64_agrees_with_float32(attack):
    net = small_net()
    x, y = examples(5, net)
    single = run(attack, net, x, y, Linf(0.02))
    double = run(attack, small_net().double(), x.double(), y, Linf(0.02))
    assert double.x_adv.dtype == torch.float64
    assert torch.equal(single.success, double.success)
    # A sign may flip where a gradient is rounding noise: margins agree where points do.
    assert torch.allclose(single.margin.double(), double.margin, atol=1e-3)


def test_zero_radius_finds_only_what_is_wrong_already(attack):
    net = small_net()
    x, y = examples(6, net, wrong=2)
    result = run(attack, net, x, y, Linf(0.0))
    assert result.success.tolist() == [True, True, False, False, False, False]
    assert torch.equal(result.x_adv, x)


def test_works_on_vectors_and_on_few_classes_or_says_why_not(attack):
    model = torch.nn.Linear(6, 2)
    x, y = torch.rand(3, 6), torch.tensor([0, 1, 1])
    try:
        assert run(attack, model, x, y, Linf(0.1)).x_adv.shape == (3, 6)
    except InputError as refusal:
        assert "classes" in str(refusal) or "image" in str(refusal)


def test_layout_of_memory_does_not_matter(attack):
    net = small_net()
    x, y = examples(5, net)
    plain = run(attack, net, x, y, Linf(0.02))
    last = run(attack, net, x.to(memory_format=torch.channels_last), y, Linf(0.02))
    assert torch.equal(plain.success, last.success)
