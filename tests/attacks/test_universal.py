"""Universal perturbations: in the ball, better than noise, one question per example."""

import pytest
import torch

from holdfast.attacks.attack import Attack
from holdfast.attacks.universal import Universal, UniversalDeepFool, UniversalSGD, in_ball
from holdfast.core.errors import InputError, UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0
from nets import examples, small_net

FITS = [UniversalSGD(epochs=3, batch=4), UniversalDeepFool(epochs=2, fooling_rate=1.0)]


def fitted(fit, net, x, y, threat):
    return fit.fit(FrozenModel(net, block=3), x, y, threat, Keys.of(0, range(len(x))))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.6), L1(5.0)])
def test_a_fit_lies_in_the_ball_and_fools_more_than_noise(fit, threat):
    net = small_net()
    x, y = examples(11, net)
    delta = fitted(fit, net, x, y, threat)
    zero = torch.zeros_like(delta)
    assert bool(type(threat)(threat.radius, box=None).contains(delta, zero).all())
    noise = in_ball(10 * threat.radius * torch.randn_like(delta), threat)
    rate, random = (
        Universal(delta=d).run(net, x, y, threat).success.float().mean() for d in (delta, noise)
    )
    assert rate > random


@pytest.mark.parametrize("fit", FITS)
def test_the_order_of_the_data_does_not_matter(fit):
    net = small_net()
    x, y = examples(5, net)
    order = torch.tensor([3, 0, 4, 1, 2])
    one = fitted(fit, net, x, y, Linf(0.05))
    two = fit.fit(FrozenModel(net, block=3), x[order], y[order], Linf(0.05), Keys.of(0, order))
    assert torch.allclose(one, two, atol=1e-6)


def test_the_best_direction_of_a_linear_model_is_found():
    model = torch.nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 1.0, 3.0, -1.0], [0.0] * 6]))
        model.bias.zero_()
    x, y = torch.full((4, 6), 0.5), torch.zeros(4, dtype=torch.long)
    delta = UniversalSGD(epochs=20).fit(model, x, y, Linf(0.2))
    assert torch.allclose(delta, -0.2 * model.weight[:1].sign())


def test_it_asks_once_and_stays_in_the_threat():
    net = small_net()
    x, y = examples(5, net, wrong=1)
    attack = Universal(delta=torch.full((1, 2, 7, 6), 3.0))
    assert isinstance(attack, Attack)
    result = attack.run(FrozenModel(net, block=3), x, y, L2(0.4))
    assert bool(L2(0.4).contains(result.x_adv, x).all())
    assert result.forwards.tolist()[0] == 1
    assert int(result.forwards.max()) <= 3


def test_records_compare_by_content():
    one, same = (Universal(delta=torch.ones(1, 3)) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Universal(delta=torch.zeros(1, 3))
    assert repr(one).startswith("Universal(delta=(1, 3):")


def test_what_does_not_fit_is_refused():
    net = small_net()
    x, y = examples(3, net)
    with pytest.raises(InputError, match="does not fit the inputs"):
        Universal(delta=torch.ones(1, 3)).run(net, x, y, Linf(0.1))
    with pytest.raises(InputError, match="is no finite change"):
        Universal(delta=torch.ones(3))
    with pytest.raises(InputError, match="not one finite number"):
        UniversalSGD().fit(net, x, y, Linf("inf"))
    with pytest.raises(UnsupportedThreat, match="universal fit"):
        UniversalSGD().fit(net, x, y, L0(3))
