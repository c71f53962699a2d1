import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.losses.margin import margin_loss
from holdfast.models.masked import (
    Detached,
    InputQuantised,
    KWinners,
    Probabilities,
    Quantise,
    Saturated,
)
from holdfast.threats import Linf
from nets import examples, small_net

B, K, C, H, W, F = 3, 5, 2, 7, 6, 11

TRAPS = {
    "quantised": lambda net: InputQuantised(net, levels=8),
    "detached": Detached,
    "saturated": Saturated,
    "probabilities": Probabilities,
}


def vector_net():
    net = nn.Linear(F, K)
    with torch.no_grad():
        net.weight.copy_(torch.randn(K, F, generator=torch.Generator().manual_seed(3)))
    return net


def gradient(model, x, y, loss=cross_entropy):
    with FrozenModel(model) as frozen:
        return frozen.value_and_grad(x, lambda logits: loss(logits, y))[2]


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_serve_images_and_vectors_of_both_types_in_a_frozen_view(trap):
    for net, shape in ((small_net(), (C, H, W)), (vector_net(), (F,))):
        x = torch.rand(B, *shape)
        model = TRAPS[trap](net)
        with FrozenModel(model) as frozen:
            assert torch.equal(frozen.logits(x), model(x))
            assert frozen.logits(x).shape == (B, K)
        net.double()
        assert model(x.double()).dtype == torch.float64


@pytest.mark.parametrize("trap", ["detached", "saturated", "probabilities"])
def test_predictions_are_those_of_the_network(trap):
    net = small_net()
    x, _ = examples(7, net)
    assert torch.equal(TRAPS[trap](net)(x).argmax(1), net(x).argmax(1))


def test_quantised_inputs_lie_on_the_grid_and_nearby():
    x = torch.rand(B, C, H, W)
    q = Quantise(8)(x)
    assert torch.equal((q * 8).round(), q * 8)
    assert ((q - x).abs() <= 1 / 16 + 1e-6).all()
    assert len(q.unique()) == 9
    assert "levels=8" in repr(Quantise(8))


@pytest.mark.parametrize("trap", ["quantised", "detached"])
def test_the_gradient_is_exactly_zero_and_pgd_stays_where_it_starts(trap):
    net = small_net()
    x, y = examples(B, net)
    model = TRAPS[trap](net)
    y = model(x).argmax(1)
    assert gradient(net, x, y).abs().amax() > 0
    assert torch.equal(gradient(model, x, y), torch.zeros_like(x))
    result = PGD(steps=4, restarts=1, start="clean").run(model, x, y, Linf(0.3))
    assert torch.equal(result.x_adv, x)
    assert PGD(steps=9, restarts=1).run(net, x, net(x).argmax(1), Linf(0.3)).success.all()


def test_saturated_logits_end_the_cross_entropy_and_not_the_margin():
    net = small_net()
    x, y = examples(40, net)
    lead = -margin_loss(net(x), y)
    x, y = x[lead > 0.2], y[lead > 0.2]
    assert len(x) > 3
    model = Saturated(net, 1e3)
    assert torch.equal(gradient(model, x, y), torch.zeros_like(x))
    bare = gradient(net, x, y, margin_loss)
    assert torch.allclose(gradient(model, x, y, margin_loss), 1e3 * bare, rtol=1e-4, atol=1e-2)
    assert torch.equal(model(x), net(x) * 1e3)


def test_probabilities_are_a_distribution_whose_loss_is_flat_where_the_network_is_sure():
    net = small_net()
    x, y = examples(B, net)
    p = Probabilities(net)(x)
    torch.testing.assert_close(p.sum(1), torch.ones(B))
    assert (p >= 0).all()
    sure = Saturated(net, 300.0)
    assert gradient(sure, x, y, margin_loss).abs().amax() > 0
    assert gradient(Probabilities(sure), x, y).abs().amax() < 1e-30


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.2, 16), (0.5, 42), (1.0, 84)])
def test_the_largest_features_of_each_example_win(share, count):
    x = torch.randn(B, C, H, W)
    y = KWinners(share)(x)
    kept = y != 0
    assert (kept.flatten(1).sum(1) == count).all()
    assert torch.equal(y[kept], x[kept])
    for i in range(B):
        assert torch.equal(KWinners(share)(x[i : i + 1])[0], y[i])
        if count < 84:
            assert x[i][kept[i]].min() >= x[i][~kept[i]].max()


def test_ties_do_not_make_more_winners():
    assert (KWinners(0.5)(torch.ones(B, F)).sum(1) == 5).all()


def test_winners_have_the_gradient_of_the_identity_and_the_function_jumps():
    layer = KWinners(0.5)
    x = torch.tensor([[1.0, 0.999, -2.0, 3.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x).sum(), x)
    assert slope.tolist() == [[1.0, 0.0, 0.0, 1.0]]
    moved = x.detach() + torch.tensor([[0.0, 0.002, 0.0, 0.0]])
    jump = (layer(moved) - layer(x.detach())).abs().amax()
    assert jump > 0.9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Quantise(0), "levels=0"),
        (lambda: InputQuantised(nn.Identity(), 2.5), "levels=2.5"),
        (lambda: Saturated(nn.Identity(), 0.0), "factor=0.0"),
        (lambda: KWinners(0.0), "share=0.0"),
        (lambda: KWinners(1.5), "share=1.5"),
    ],
)
def test_bad_hyperparameters_are_named(make, said):
    with pytest.raises(InputError, match=said):
        make()
