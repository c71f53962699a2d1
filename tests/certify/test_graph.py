import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.nets import NETS, SHAPE, Function, graph, inputs, net
from holdfast.certify import capture
from holdfast.certify.interval import boxes
from holdfast.certify.rounding import Box
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


def test_a_new_weight_is_seen_without_a_new_capture():
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)).eval()
    captured, x = capture(model, (6,)), inputs(3, (6,)).float()
    before = captured.forward(x)
    model[0].weight = nn.Parameter(torch.ones(4, 6))
    model[1].running_mean = torch.arange(4.0)
    after = captured.forward(x)
    torch.testing.assert_close(after, model(x))
    assert not torch.equal(before, after)
    model.double()
    torch.testing.assert_close(captured.forward(x.double()), model(x.double()))


def test_gradients_flow_through_weight_norm_and_batch_norm():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.BatchNorm1d(4), nn.Linear(4, 3)
    ).eval()
    captured, x = capture(model, (6,)), inputs(3, (6,)).float()
    captured.forward(x).square().sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-4, rtol=1e-4)


def test_batch_norm_folds_to_the_same_bounds_as_a_folded_network():
    conv, norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-1, 1, 4))
        norm.running_var.copy_(torch.linspace(0.2, 2, 4))
        norm.weight.copy_(torch.linspace(-1, 2, 4))
    model = nn.Sequential(conv, norm, nn.ReLU()).double().eval()
    folded = nn.Sequential(nn.utils.fuse_conv_bn_eval(model[0], model[1]), nn.ReLU())
    x = inputs(3)
    first, second = (
        boxes(capture(each, SHAPE), Box(x - 0.1, x + 0.1), rigorous=True)[-1]
        for each in (model, folded)
    )
    torch.testing.assert_close(first.lower, second.lower, atol=1e-12, rtol=0)
    torch.testing.assert_close(first.upper, second.upper, atol=1e-12, rtol=0)


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


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Sigmoid(), Function(lambda x: x.nope())])
def test_the_module_is_left_as_found_also_after_an_error(last):
    model = Failing(last).train()
    model.norm.eval()
    model.norm.weight.requires_grad_(False)
    model.norm.bias.grad = torch.ones(6)
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


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(6, 4), nn.ModuleList([nn.Tanh()])[0])

    def forward(self, x):
        return self.features(x)


def test_the_module_path_of_an_unknown_operation_is_named():
    with pytest.raises(CaptureError, match=r"tanh at 'features\.1' \(node tanh\)"):
        capture(Nested(), (6,))


REFUSED = {
    "branch on data": (lambda x: x if x.sum() > 0 else -x, "branches on the values"),
    "length of the batch": (lambda x: x.reshape(len(x), -1), "fixes the batch size|their number"),
    "frozen batch": (lambda x: x.reshape(2, 6), "fixes their number"),
    "branch on the batch size": (lambda x: x if x.shape[0] < 10 else -x, "2 to 9 rows"),
    "branch on a batch of one": (lambda x: x if x.shape[0] > 1 else -x, "batch of 1"),
    "squeezed batch of one": (lambda x: x.squeeze(), "batch of 1"),
    "random": (lambda x: x + torch.rand(6), "differs"),
    "batch order": (lambda x: x + torch.arange(x.shape[0]).unsqueeze(1), "arange.*batch size"),
    "several results": (lambda x: (x, x), "one tensor"),
    "constant result": (lambda x: torch.ones(2, 3), "one tensor"),
    "no tensor": (lambda x: 3, "one tensor"),
    "error": (lambda x: x @ torch.ones(5, 5), "cannot be captured"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_wrong_in_silence_is_refused(case, capfd):
    function, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message) as caught:
        capture(Function(function), (6,))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def _view_changed_later(x):
    h = x * 1
    view = h.view(-1, 2, 3)
    h.relu_()
    return h + view.flatten(1)


def _ignored_result(x):
    h = x - 0.5
    F.relu(h, inplace=True)
    return h * 2


def _base_changed_through_a_view(x):
    h = x - 0.5
    h.view(-1, 2, 3).relu_()
    return h


def _constant_changed(x):
    c = torch.ones(6)
    c.add_(1)
    return x + c


def _no_grad(x):
    with torch.no_grad():
        return x + 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_view_changed_later, "relu_.*in place"),
        (_base_changed_through_a_view, "relu_.*in place"),
        (_constant_changed, "add_.*in place"),
        (_no_grad, "wrap_with_set_grad_enabled"),
    ],
)
def test_memory_that_cannot_be_followed_is_refused(function, message):
    with pytest.raises(CaptureError, match=message):
        capture(Function(function), (6,))


def test_in_place_operations_are_followed():
    captured, x = capture(Function(_ignored_result), (6,)), inputs(3, (6,)).float()
    torch.testing.assert_close(captured.forward(x), _ignored_result(x))


def test_what_the_output_does_not_need_is_dropped():
    def function(x):
        x.relu()
        return x + 1

    assert len(capture(Function(function), (6,)).nodes) == 2


def test_a_double_model_is_captured_in_double():
    model = copy.deepcopy(net("conv")).double()
    x = inputs(3)
    torch.testing.assert_close(capture(model, SHAPE).forward(x), model(x), atol=1e-12, rtol=0)


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"^lo=.*\(B, 2, 7, 6\)"):
        graph("conv").check_input(torch.zeros(3, 2, 7, 5), "lo")
