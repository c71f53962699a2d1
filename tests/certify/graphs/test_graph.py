import copy

import pytest
import torch
from torch import nn

from certify.nets import NETS, SHAPE, Function, graph, inputs, net
from holdfast.certify import capture, interval_logits
from holdfast.core.errors import CaptureError, InputError


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_forward_equals_the_model(name, rows):
    x = inputs(rows).float()
    with torch.no_grad():
        found, wanted = graph(name).forward(x), net(name)(x)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_nodes_refer_to_earlier_nodes_and_know_their_module():
    nodes = graph("residual").nodes
    assert [node.place for node in nodes] == list(range(len(nodes)))
    assert all(index < node.place for node in nodes for index in node.inputs)
    where = {node.where for node in nodes}
    assert {"net.stem", "net.blocks.1.bn2", "net.head"} <= where
    assert graph("residual").input_shape == SHAPE
    assert graph("residual").output_shape == (5,)


def test_parameters_are_the_modules_own_and_only_those_used():
    model, captured = net("residual"), graph("residual")
    assert captured.parameters["net.head.weight"] is model.net.head.weight
    assert (
        captured.parameters["net.blocks.0.bn1.running_var"] is model.net.blocks[0].bn1.running_var
    )
    assert not any("num_batches_tracked" in name for name in captured.parameters)


def _state(model):
    return (
        [module.training for module in model.modules()],
        [(name, p.requires_grad, p.grad) for name, p in model.named_parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
        [dict(module.__dict__["_forward_hooks"]) for module in model.modules()],
        [sorted(module.__dict__) for module in model.modules()],
        torch.random.get_rng_state(),
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
    )


def _same(first, second):
    tensors = zip(first[2].items(), second[2].items(), strict=True)
    same = all(a == b and torch.equal(v, w) for (a, v), (b, w) in tensors)
    return (
        same
        and torch.equal(first[5], second[5])
        and first[:2] + first[3:5] == (second[:2] + second[3:5])
        and first[6:] == second[6:]
    )


class Failing(nn.Module):
    """Counts its calls in a buffer, and ends in an operation that is not supported."""

    def __init__(self, last):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.norm, self.last = nn.BatchNorm1d(6), last

    def forward(self, x):
        self.calls += 1
        return self.last(self.norm(x))


@pytest.mark.parametrize("last", [nn.ReLU(), nn.SiLU(), Function(lambda x: x.nope())])
def test_the_module_is_left_as_found_also_after_an_error(last):
    model = Failing(last).double().train()
    model.norm.eval()
    model.norm.weight.requires_grad_(False)
    model.norm.bias.grad = torch.ones(6, dtype=torch.float64)
    before = _state(model)
    if isinstance(last, nn.ReLU):
        capture(model, (6,))
    else:
        with pytest.raises(CaptureError):
            capture(model, (6,))
    assert _same(before, _state(model))


def test_only_modules_are_captured():
    with pytest.raises(CaptureError, match=r"function.*nn\.Module.*wrap"):
        capture(lambda x: x, (3,))


def test_a_double_model_is_captured_in_double():
    model = copy.deepcopy(net("conv")).double()
    x = inputs(3)
    torch.testing.assert_close(capture(model, SHAPE).forward(x), model(x), atol=1e-12, rtol=0)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"^lo=.*\(B, 2, 7, 6\)"):
        graph("conv").check_input(torch.zeros(3, 2, 7, 5), "lo")


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_capture_and_bounds_work_without_gradients(context):
    with context():
        captured = capture(net("conv"), SHAPE)
        lower, _ = interval_logits(captured, inputs(2), inputs(2))
    torch.testing.assert_close(lower, graph("conv").forward(inputs(2)))
