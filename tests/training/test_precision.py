import pytest
import torch

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
    net, data = network(), examples(23)
    x, y = data.inputs(), data.labels
    signs = []
    for each in (net, Autocast(net, CPU, torch.bfloat16)):
        frozen = FrozenModel(each)
        _, _, gradient = frozen.value_and_grad(x, lambda logits: cross_entropy(logits, y))
        signs.append(gradient.sign())
    assert (signs[0] == signs[1]).float().mean() > 0.95
    assert (signs[1] == 0).float().mean() <= (signs[0] == 0).float().mean()
