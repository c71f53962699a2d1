"""Transfer: three questions to the target, records by content."""

import torch

from holdfast.attacks.attack import Attack
from holdfast.attacks.boundary import Boundary
from holdfast.attacks.pgd import PGD
from holdfast.attacks.transfer import Surrogate, Transfer
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    index = options.pop("index", range(len(x)))
    return attack.run(FrozenModel(net, block=3), x, y, threat, keys=Keys.of(0, index), **options)


def test_the_network_itself_is_the_best_surrogate():
    net = small_net()
    x, y = examples(5, net)
    for inner, threat in ((PGD(steps=9, restarts=1), Linf(0.3)), (Boundary(queries=60), L2("inf"))):
        attack = Transfer(surrogate=net, attack=inner)
        assert isinstance(attack, Attack)
        result = run(attack, net, x, y, threat)
        assert bool(result.success.all())
        assert result.forwards.tolist() == [3] * 5
        assert result.backwards.tolist() == [0] * 5


def test_the_target_judges():
    net, other = small_net(), small_net(seed=4)
    x, y = examples(5, net)
    result = run(Transfer(surrogate=other, attack=PGD(steps=5)), net, x, y, Linf(0.02))
    assert torch.equal(result.success, net(result.x_adv).argmax(1) != y)


def test_neighbours_do_not_matter():
    net, attack = small_net(), Transfer(surrogate=small_net(seed=4), attack=PGD(steps=5))
    x, y = examples(5, net)
    whole = run(attack, net, x, y, Linf(0.1))
    alone = run(attack, net, x[3:4], y[3:4], Linf(0.1), index=[3])
    assert torch.equal(whole.x_adv[3:4], alone.x_adv)


def test_targets_reach_the_surrogate():
    net = small_net()
    x, y = examples(4, net)
    targets = (y + 1) % 5
    result = run(Transfer(surrogate=net), net, x, y, Linf(0.5), targets=targets)
    assert torch.equal(result.success, net(result.x_adv).argmax(1) == targets)
    assert bool(result.success.any())


def test_records_compare_by_the_surrogates_content():
    one, same, other = (
        Transfer(surrogate=small_net(seed), attack=PGD(steps=3)) for seed in (0, 0, 4)
    )
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one).startswith("Transfer(surrogate=Sequential:")
    assert one == Transfer(**vars(one))
    assert Surrogate(torch.sin) != Surrogate(torch.cos)


def test_a_surrogate_of_another_precision_works():
    net = small_net().double()
    x, y = examples(3, small_net())
    attack = Transfer(surrogate=small_net(), attack=PGD(steps=5))
    assert run(attack, net, x.double(), y, Linf(0.1)).x_adv.dtype == torch.float64
