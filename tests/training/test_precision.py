import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.losses.cross_entropy import cross_entropy
from holdfast.training.precision import Autocast, check_precision, in_precision, loss_scaler
from training.tiny import examples, network

CPU = torch.device("cpu")


def test_fp16_is_refused_on_a_cpu_with_a_remedy():
    with pytest.raises(InputError, match=r"fp16.*cpu.*use training.precision = 'bf16'"):
        check_precision("fp16", CPU)
    with pytest.raises(InputError, match="fp16"):
        in_precision(network(), "fp16", CPU)
    check_precision("bf16", CPU)


def test_float32_is_the_network_itself():
    net = network()
    assert in_precision(net, "float32", CPU) is net
    assert loss_scaler("float32", CPU) is None
    assert loss_scaler("bf16", CPU) is None


def test_bf16_computes_in_bf16_and_answers_in_float32():
    net, seen = network(), []
    net[5].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    logits = in_precision(net, "bf16", CPU)(examples(5).inputs())
    assert seen == [torch.bfloat16]
    assert logits.dtype == torch.float32
    assert torch.allclose(logits, net.eval()(examples(5).inputs()), atol=0.05)


def test_no_cast_outlives_a_change_of_the_weights():
    net = network()
    wrapped = Autocast(net, CPU, torch.bfloat16)
    x = examples(5).inputs()
    before = wrapped(x)
    with torch.no_grad():
        net[5].weight.zero_()
        net[5].bias.zero_()
    assert wrapped(x).abs().sum() == 0 < before.abs().sum()


def test_signs_of_the_input_gradient_agree():
    net, data = network(), examples(200)
    x, y = data.inputs(), data.labels
    signs = []
    for each in (net, Autocast(net, CPU, torch.bfloat16)):
        frozen = FrozenModel(each)
        _, _, gradient = frozen.value_and_grad(x, lambda logits: cross_entropy(logits, y))
        signs.append(gradient.sign())
    assert (signs[0] == signs[1]).float().mean() > 0.99
    assert (signs[1] == 0).float().mean() <= (signs[0] == 0).float().mean()


class Casts(TorchDispatchMode):
    """Counts the tensors of these shapes that are brought to bf16."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes, self.count = shapes, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and found.dtype == torch.bfloat16:
            self.count += tuple(found.shape) in self.shapes
        if func is torch.ops.aten._foreach_copy_.default:
            self.count += sum(tuple(each.shape) in self.shapes for each in args[0])
        return found


def casts_of(net, work):
    """How often a weight is cast, in units of all weights that autocast lowers."""
    shapes = {tuple(net[i].weight.shape) for i in (0, 5)}
    with Casts(shapes) as casts:
        work()
    return casts.count / 2


def gradients(frozen, data, passes):
    x, y = data.inputs(), data.labels
    return [
        frozen.value_and_grad(x, lambda logits: cross_entropy(logits, y))[2] for _ in range(passes)
    ]


def test_a_frozen_view_casts_its_weights_once_for_all_passes_with_the_same_bits():
    net, data = network(), examples(5)
    wrapped = Autocast(net, CPU, torch.bfloat16)
    frozen, found = FrozenModel(wrapped), []
    assert casts_of(net, lambda: found.extend(gradients(frozen, data, 3))) == 1
    wrapped._shadow._homes = []  # autocast alone
    assert casts_of(net, lambda: found.extend(gradients(frozen, data, 3))) == 3
    assert all(torch.equal(each, found[0]) for each in found)
    assert {each.dtype for each in net.parameters()} == {torch.float32}


def test_casts_of_a_frozen_view_follow_the_weights():
    net, data = network(), examples(5)
    wrapped = Autocast(net, CPU, torch.bfloat16)
    frozen, x = FrozenModel(wrapped), data.inputs()
    before = frozen.logits(x)
    with torch.no_grad():
        net[5].weight.zero_()
    assert torch.equal(frozen.logits(x), net[5].bias.bfloat16().float().expand(5, -1))
    assert torch.equal(FrozenModel(wrapped).logits(x), frozen.logits(x))
    assert not torch.equal(before, frozen.logits(x))


def test_weights_that_learn_are_left_to_autocast():
    net, data = network(), examples(5)
    net[0].requires_grad_(False)
    wrapped = Autocast(net, CPU, torch.bfloat16)
    gradients(FrozenModel(wrapped), data, 1)
    nn.functional.cross_entropy(wrapped(data.inputs()), data.labels).backward()
    assert net[0].weight.grad is None
    assert net[5].weight.grad.abs().sum() > 0
    assert net[5].weight.dtype == net[0].weight.dtype == torch.float32


def test_modules_that_work_on_their_weights_keep_them_in_float32():
    seen = []

    class Standardised(nn.Linear):
        def forward(self, x):
            seen.append(self.weight.dtype)
            return nn.functional.linear(x, self.weight - self.weight.mean())

    net = nn.Sequential(nn.Linear(3, 5), Standardised(5, 2))
    FrozenModel(Autocast(net, CPU, torch.bfloat16)).logits(torch.rand(4, 3))
    assert seen == [torch.float32]
