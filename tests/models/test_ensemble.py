import copy

import pytest
import torch
from torch import nn

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.models import build_model, load_model, save_model
from holdfast.models.ensemble import Ensemble, ensemble, ensemble_of
from holdfast.models.registry import architecture_of
from holdfast.threats import Linf
from nets import examples, small_net


def nets(count=3):
    return [small_net(seed) for seed in range(count)]


def test_its_softmax_is_the_mean_of_the_members():
    members, x = nets(), torch.rand(3, 2, 7, 6)
    mean = torch.stack([net(x).softmax(1) for net in members]).mean(0)
    answer = Ensemble(members)(x)
    assert torch.allclose(answer.exp(), mean, atol=1e-6)
    assert torch.allclose(answer.softmax(1), mean, atol=1e-6)
    y = torch.tensor([0, 4, 2])
    loss = nn.functional.cross_entropy(answer, y)
    assert loss.item() == pytest.approx(-mean.gather(1, y[:, None]).log().mean().item(), rel=1e-5)


def test_one_member_alone_is_itself_up_to_a_constant():
    net, x = small_net(), torch.rand(3, 2, 7, 6)
    assert torch.allclose(Ensemble([net])(x), net(x).log_softmax(1))


def test_the_gradient_is_that_of_the_mean_probability():
    members = [net.double() for net in nets()]
    x = torch.rand(3, 2, 7, 6, dtype=torch.float64, requires_grad=True)
    mean = torch.stack([net(x).softmax(1) for net in members]).mean(0)
    (expected,) = torch.autograd.grad(mean[:, 1].log().sum(), x)
    frozen = FrozenModel(Ensemble(members))
    _, _, gradient = frozen.value_and_grad(x.detach(), lambda z: z[:, 1])
    assert torch.allclose(gradient, expected, atol=1e-12)


def test_a_certain_member_leaves_answers_and_gradients_finite():
    class Certain(nn.Module):
        def forward(self, x):
            return torch.stack([1e4 * x.flatten(1).sum(1), x.flatten(1)[:, 0]], dim=1)

    x = torch.rand(3, 4, requires_grad=True)
    answer = Ensemble([Certain(), nn.Linear(4, 2)])(x)
    (gradient,) = torch.autograd.grad(answer[:, 1].sum(), x)
    assert answer.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


def test_attacks_and_training_see_one_module():
    model = Ensemble(nets())
    x, y = examples(5, model)
    result = PGD(steps=3, restarts=1).run(model, x, y, Linf(0.3))
    assert result.success.any()
    fooled = model(result.x_adv[result.success]).argmax(1)
    assert (fooled != y[result.success]).all()
    model(x).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_it_is_kept_in_one_file(tmp_path):
    options = {"classes": 3, "width": 2, "input_shape": (1, 8, 8), "normalize": (0.5, 0.25)}
    members = [build_model("digits_conv", seed=seed, **options) for seed in (4, 5)]
    model = ensemble_of(members).eval()
    assert architecture_of(model).options["members"] == 2
    save_model(tmp_path / "two.safetensors", model)
    again, metadata = load_model(tmp_path / "two.safetensors")
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(again(x), model(x))
    assert metadata.architecture == architecture_of(model) == architecture_of(again)


def test_members_without_a_common_architecture_record_none():
    known = build_model("digits_conv")
    for members in ([known, small_net()], nets(), [known, build_model("digits_conv", width=3)]):
        assert architecture_of(ensemble_of(members)) is None
    assert architecture_of(ensemble_of([known, copy.deepcopy(known)])) is not None


def test_named_members_differ():
    model = ensemble(members=2)
    a, b = (
        member[0].weight if hasattr(member, "__getitem__") else None for member in model.members
    )
    assert not torch.equal(a, b)


def test_impossible_ensembles_are_refused():
    with pytest.raises(InputError, match="is no ensemble"):
        Ensemble([])
    with pytest.raises(InputError, match=r"networks with \[2, 3\] classes"):
        Ensemble([nn.Linear(4, 3), nn.Linear(4, 2)])(torch.rand(3, 4))
