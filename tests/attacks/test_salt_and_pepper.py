"""Salt and pepper: pixels at the ends of the box, the least level, decisions only."""

import pytest
import torch

from holdfast.attacks.salt_and_pepper import SaltAndPepper
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from holdfast.threats.l0 import L0
from nets import examples, small_net


def run(attack, net, x, y, threat):
    return attack.run(FrozenModel(net, block=3), x, y, threat, keys=Keys.of(0, range(len(x))))


@pytest.mark.parametrize("together", [True, False])
def test_changed_features_are_at_an_end_of_the_box(together):
    net = small_net()
    x, y = examples(5, net)
    attack = SaltAndPepper(queries=60, across_channels=together)
    result = run(attack, net, x, y, L2("inf", box=(-1.0, 2.0)))
    changed = result.x_adv != x
    assert bool(result.success.all())
    assert set(result.x_adv[changed].tolist()) <= {-1.0, 2.0}
    assert bool((changed[:, 0] == changed[:, 1]).all()) == together
    assert int(result.forwards.max()) <= 62


def test_a_count_of_ones_is_found_exactly():
    """The model errs from four bright features on; black ones do nothing."""

    def model(x):
        bright = (x > 0.9).sum(dim=1).to(x.dtype)
        return torch.stack([3.5 - bright, bright - 3.5], dim=1)

    x, y = torch.zeros(2, 30), torch.tensor([0, 0])
    result = run(SaltAndPepper(queries=150), model, x, y, L0("inf"))
    assert result.size.tolist() == [4.0, 4.0]


@pytest.mark.slow
def test_noise_is_thinned_to_what_it_needs():
    """The model errs where three given features of many are bright, which fresh noise hits only
    together with about half of all others."""

    def model(x):
        wrong = (x[:, :3] > 0.9).all(dim=1).to(x.dtype)
        return torch.stack([0.5 - wrong, wrong - 0.5], dim=1)

    x, y = torch.full((4, 40), 0.5), torch.zeros(4, dtype=torch.long)
    result = run(SaltAndPepper(queries=400), model, x, y, L0("inf"))
    assert result.size.tolist() == [3.0] * 4


@pytest.mark.slow
def test_only_the_decision_is_used_and_more_queries_are_never_worse():
    net = small_net()
    x, y = examples(5, net)

    def hard(z):
        return torch.nn.functional.one_hot(net(z).argmax(1), 5).to(z.dtype)

    few, many = (run(SaltAndPepper(queries=n), net, x, y, L0("inf")) for n in (20, 90))
    assert bool((many.size <= few.size).all())
    assert bool((many.size < few.size).any())
    assert torch.equal(few.x_adv, run(SaltAndPepper(queries=20), hard, x, y, L0("inf")).x_adv)


def test_what_has_no_ends_or_another_norm_is_refused():
    x, y = torch.rand(1, 2, 7, 6), torch.tensor([0])
    with pytest.raises(UnsupportedThreat, match="give l2:inf,box=none a box"):
        SaltAndPepper().run(small_net(), x, y, L2("inf", box=None))
    with pytest.raises(UnsupportedThreat, match="L0 or L1 or L2"):
        SaltAndPepper().run(small_net(), x, y, Linf(0.1))
