"""The one-step attacks: support and moments of R+FGSM and FGSM-RS, exactness on linear models."""

import torch

from holdfast.attacks import FGSM, PGD, fgsm_rs, r_fgsm
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2, Linf
from holdfast.toys.linear import LinearWorld
from nets import examples, small_net


def perturbation(attack, net, x, y, threat):
    with FrozenModel(net) as frozen:
        return attack.perturb(frozen, x, y, threat, keys=Keys.of(0, range(len(x)))) - x


def test_r_fgsm_lands_on_minus_eps_zero_or_eps():
    net = small_net()
    x, y = examples(6, net)
    delta = perturbation(r_fgsm(), net, x, y, Linf(0.25, box=None))
    share = [float(((delta - v).abs() < 1e-6).float().mean()) for v in (-0.25, 0.0, 0.25)]
    assert abs(sum(share) - 1.0) < 1e-6
    assert all(s > 0.05 for s in share)


def test_fgsm_rs_has_the_published_boundary_share_and_mean():
    # For d0 uniform, P(|d| = eps) = a / (2 eps), E[s d] = a - a^2 / (4 eps) (Wong 2020, 4.1.1).
    # 200 x 84 = 16,800 coordinates: a deviation of 0.02 is more than 5 standard deviations.
    net = small_net()
    x, y = examples(200, net)
    x = x * 0 + 0.5 + 0.001 * x
    for ratio, share, mean in ((1.0, 0.5, 0.75), (1.25, 0.625, 0.859375), (2.0, 1.0, 1.0)):
        threat = Linf(1e-4, box=None)
        delta = perturbation(fgsm_rs(f"{ratio}*eps"), net, x, y, threat)
        x.requires_grad_(True)
        (grad,) = torch.autograd.grad(
            torch.nn.functional.cross_entropy(net(x), y, reduction="sum"), x
        )
        x = x.detach()
        moved = grad != 0
        edge = (delta.abs() > 1e-4 * (1 - 2e-3))[moved].float().mean()
        gain = (grad.sign() * delta)[moved].mean() / 1e-4
        assert abs(float(edge) - share) < 0.02, ratio
        assert abs(float(gain) - mean) < 0.02, ratio


def test_fgsm_rs_is_one_step_of_pgd():
    net = small_net()
    x, y = examples(5, net)
    one = perturbation(fgsm_rs(), net, x, y, Linf(0.05))
    pgd = PGD(steps=1, restarts=1, step_size="1.25*eps")
    assert torch.equal(one, perturbation(pgd, net, x, y, Linf(0.05)))


def test_fgsm_is_the_exact_worst_case_of_a_binary_linear_model():
    world = LinearWorld.make(seed=0, classes=2, features=9)
    x, y = world.sample(seed=1, count=40)
    model = world.module()
    for threat in (Linf(0.05, box=None), L2(0.15, box=None), L1(0.3, box=None)):
        exact = world.exact_margin(x, y, threat.p, float(threat.radius))
        frozen = FrozenModel(model, block=8)
        result = FGSM().run(frozen, x, y, threat, keys=Keys.of(0, range(40)))
        attacked = result.outcome != 1
        assert torch.allclose(result.margin[attacked].double(), exact[attacked].double(), atol=1e-5)
        assert torch.equal(result.success[attacked], (exact <= 0)[attacked])
