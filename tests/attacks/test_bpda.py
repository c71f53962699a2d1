import copy

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.attacks.bpda import approximate, with_backward
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.models.masked import Detached, InputQuantised
from holdfast.models.purified import InnerOptimisation
from holdfast.threats import Linf
from nets import examples, small_net

B, K, C, H, W, F = 3, 5, 2, 7, 6, 11


def through_numpy(x):
    return torch.from_numpy((x.cpu().numpy() * 8).round() / 8).to(x)


def in_place(x):
    return x.mul_(0.5).round_()


def flip_signs(x):
    """Exact values that no sum reproduces: minus zero, infinities, numbers of all sizes."""
    return torch.where(x > 0.5, -x * 0.0, x * 1e30).to(x.dtype)


LAYERS = [torch.round, through_numpy, in_place, flip_signs, Detached(nn.Identity())]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(C, H, W), (F,)])
def test_outputs_have_the_bits_of_the_layer_and_gradients_are_the_surrogates(layer, dtype, shape):
    x = torch.rand(B, *shape, dtype=dtype)
    want, before = layer(x.clone()), x.clone()
    up = torch.randn(want.shape, dtype=dtype)
    for surrogate in (None, torch.sin, nn.Tanh()):
        at = x.clone().requires_grad_(True)
        y = with_backward(layer, surrogate)(at)
        assert torch.equal(y, want)
        assert torch.equal(torch.signbit(y), torch.signbit(want))
        (found,) = torch.autograd.grad(y, at, up)
        of = x.clone().requires_grad_(True)
        s = of * 1 if surrogate is None else surrogate(of)
        assert torch.equal(found, torch.autograd.grad(s, of, up)[0])
        assert torch.equal(at.detach(), before)
        with torch.no_grad():
            assert torch.equal(with_backward(layer, surrogate)(x), want)
        assert torch.equal(x, before)


def test_a_surrogate_may_change_the_shape_and_learn():
    hidden, stand_in = nn.Linear(F, K), nn.Linear(F, K)
    part = with_backward(hidden, stand_in)
    x = torch.rand(B, F)
    part(x).square().sum().backward()
    assert torch.equal(part(x), hidden(x))
    assert hidden.weight.grad is None
    assert stand_in.weight.grad.abs().sum() > 0
    assert {name for name, _ in part.named_children()} == {"layer", "surrogate"}


@pytest.mark.slow
def test_it_works_under_function_transforms():
    part = with_backward(torch.round, torch.sin)
    x = torch.rand(B, F)
    slopes = torch.func.vmap(torch.func.grad(lambda row: part(row).sum()))(x)
    torch.testing.assert_close(slopes, x.cos())


def trapped(levels=2):
    """A network whose rounded inputs hide the gradient, and examples it gets right."""
    net = small_net()
    x, _ = examples(9, net)
    model = InputQuantised(net, levels)
    return model, x, model(x).argmax(1)


def test_pgd_breaks_with_the_identity_what_it_cannot_break_without():
    model, x, y = trapped()
    threat, attack = Linf(0.3), PGD(steps=20, restarts=1, start="clean")
    plain = attack.run(model, x, y, threat)
    assert not plain.success.any()
    assert torch.equal(plain.x_adv, x)
    hooked = attack.run(approximate(model, {"quantise": None}), x, y, threat)
    assert hooked.success.all()
    assert (model(hooked.x_adv).argmax(1) != y).all()
    assert threat.contains(hooked.x_adv, x).all()


@pytest.mark.parametrize(("part", "surrogate"), [("purify", None), ("", small_net())])
def test_a_loop_is_broken_by_the_identity_and_a_model_by_a_stand_in(part, surrogate):
    net = small_net()
    x, _ = examples(9, net)
    model = InnerOptimisation(net, steps=2)
    y = model(x).argmax(1)
    threat, attack = Linf(0.3), PGD(steps=20, restarts=1, start="clean")
    assert not attack.run(model, x, y, threat).success.any()
    result = attack.run(approximate(model, {part: surrogate}), x, y, threat)
    assert (model(result.x_adv).argmax(1) != y).all()


def test_the_gradient_in_a_frozen_view_is_that_of_the_network_at_the_rounded_input():
    model, x, y = trapped()
    with FrozenModel(approximate(model, {"quantise": None})) as frozen:
        logits, _, found = frozen.value_and_grad(x, lambda z: cross_entropy(z, y))
        assert frozen.passes.forwards == len(x)
    with FrozenModel(model.net) as bare:
        want = bare.value_and_grad(model.quantise(x), lambda z: cross_entropy(z, y))[2]
    assert torch.equal(logits, model(x))
    assert torch.equal(found, want)
    assert found.abs().amax() > 0


def test_the_users_model_is_untouched_and_its_weights_are_shared():
    inner = nn.Sequential(nn.Linear(F, K), nn.Hardsigmoid())
    model = nn.Sequential(inner, nn.Linear(K, K))
    names = [(name, id(each)) for name, each in model.named_modules()]
    tables = {
        id(each): (copy.copy(each._modules), len(each._forward_hooks)) for each in model.modules()
    }
    hooked = approximate(model, {"0.1": nn.ReLU(), "1": None})
    hooked.register_forward_hook(lambda *parts: None)
    hooked[0].register_buffer("more", torch.zeros(1))
    assert [(name, id(each)) for name, each in model.named_modules()] == names
    assert {
        i: (each._modules, len(each._forward_hooks))
        for i, each in zip(tables, model.modules(), strict=True)
    } == tables
    assert not list(model.buffers())
    assert hooked[0][0] is model[0][0]
    assert hooked[0][1].layer is model[0][1]
    assert {id(p) for p in hooked.parameters()} == {id(p) for p in model.parameters()}
    x = torch.rand(B, F)
    assert torch.equal(hooked(x), model(x))


def test_models_with_methods_and_parametrised_weights_are_copied():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = Detached(nn.Flatten())
            self.head = nn.utils.parametrizations.weight_norm(nn.Linear(C * H * W, K))

        def features(self, x):
            return self.front(x)

        def forward(self, x):
            return self.head(self.features(x))

    model, x = Own(), torch.rand(B, C, H, W, requires_grad=True)
    hooked = approximate(model, {"front": nn.Flatten(), "head": model.head})
    assert isinstance(hooked, Own)
    assert torch.equal(hooked(x), model(x))
    (slope,) = torch.autograd.grad(hooked(x)[:, 0].sum(), x)
    torch.testing.assert_close(slope[0].flatten(), model.head.weight[0])


def test_nothing_to_approximate_is_the_model():
    model = small_net()
    assert approximate(model, {}) is model


@pytest.mark.parametrize(
    ("surrogates", "said"),
    [
        ({"quantize": None}, "surrogates='quantize': is not known; did you mean 'quantise'"),
        ({"net.9": None}, "surrogates='net.9': is not known"),
        ({"net": None, "net.0": None}, "surrogates='net.0': lies in another one"),
        ({"": None, "net": None}, "surrogates='net': lies in another one"),
        ({"quantise": 3}, "surrogate=3: cannot be called"),
    ],
)
def test_names_that_do_not_fit_are_refused(surrogates, said):
    with pytest.raises(InputError) as error:
        approximate(trapped()[0], surrogates)
    assert str(error.value).startswith(said)


def test_what_is_no_layer_is_refused():
    with pytest.raises(InputError, match="has no submodules; use with_backward"):
        approximate(torch.round, {"": None})
    with pytest.raises(InputError, match="layer=None: cannot be called"):
        with_backward(None)
    x = torch.rand(B, F, requires_grad=True)
    with pytest.raises(InputError, match=r"layer=argmax: returns torch.int64, not a float tensor"):
        with_backward(torch.argmax)(x)
    with pytest.raises(InputError, match=r"layer=tolist: returns list"):
        with_backward(torch.Tensor.tolist)(x)
    with pytest.raises(InputError, match=r"surrogate=Identity: returns shape \(3, 11\), the layer"):
        with_backward(nn.Linear(F, K))(x)
