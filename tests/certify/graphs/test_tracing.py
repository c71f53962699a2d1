import pytest
import torch
import torch.nn.functional as F
from torch import nn

from certify.nets import Function, inputs
from holdfast.certify import capture
from holdfast.core.errors import CaptureError


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(6, 4), nn.ModuleList([nn.SiLU()])[0])

    def forward(self, x):
        return self.features(x)


def test_the_module_path_of_an_unknown_operation_is_named():
    with pytest.raises(CaptureError, match=r"silu at 'features\.1' \(node silu\)"):
        capture(Nested(), (6,))


HALF = torch.ones(1, dtype=torch.float16)


def _filled(constant):
    constant.add_(torch.rand(6))
    return constant


REFUSED = {
    "length of the batch": (lambda x: x.reshape(len(x), -1), "fixes the batch size|their number"),
    "frozen batch": (lambda x: x.reshape(2, 6), "fixes their number"),
    "branch on a batch of one": (lambda x: x if x.shape[0] > 1 else -x, "batch of 1"),
    "squeezed batch of one": (lambda x: x.squeeze(), "batch of 1"),
    "random": (lambda x: x + torch.rand(6), r"rand in the model \(node rand\) is random"),
    "random like a weight": (lambda x: x * torch.randn_like(torch.ones(6)), "randn_like.*random"),
    "random weight": (lambda x: F.linear(x, torch.bernoulli(torch.ones(3, 6) / 2)), "bernoulli"),
    "dropped constant": (lambda x: x + F.dropout(torch.ones(6), 0.5, True), "dropout.*random"),
    "filled at random": (lambda x: x + torch.zeros(6).normal_(), "normal_.*in place"),
    "filled later at random": (lambda x: x + _filled(torch.zeros(6)), "rand .*random"),
    "memory as found": (lambda x: x + torch.empty(6), "empty.*nothing has filled"),
    "half": (lambda x: x.half().float(), r"to .*float16.*model\.float\(\)"),
    "type of a half constant": (lambda x: x.type_as(HALF).float(), "type_as.*float16"),
    "type of a bfloat16 constant": (lambda x: x.to(HALF.bfloat16()).float(), "to .*bfloat16"),
    "whole numbers": (lambda x: x.type_as(torch.ones(1, dtype=torch.int64)), "type_as.*int64"),
    "batch order": (lambda x: x + torch.arange(x.shape[0]).unsqueeze(1), "arange.*batch size"),
    "several results": (lambda x: (x, x), "one tensor"),
    "constant result": (lambda x: torch.ones(2, 3), "one tensor"),
    "no tensor": (lambda x: 3, "one tensor"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_wrong_in_silence_is_refused(case):
    function, message = REFUSED[case]
    with pytest.raises(CaptureError, match=message) as caught:
        capture(Function(function), (6,))
    assert "\n" not in str(caught.value)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_of_half_precision_is_refused(dtype):
    with pytest.raises(CaptureError, match=r"input.*float16.*model\.float\(\)"):
        capture(nn.Linear(6, 3).to(dtype), (6,))


def test_a_dropout_that_is_off_leaves_a_constant_alone():
    captured = capture(Function(lambda x: x + F.dropout(torch.ones(6), 0.5, False)), (6,))
    x = inputs(3, (6,)).float()
    assert torch.equal(captured.forward(x), x + 1)


@pytest.mark.parametrize("cast", [lambda c, x: c.to(x), lambda c, x: c.type_as(x)])
def test_a_constant_may_take_its_type_from_the_input(cast):
    constant = torch.arange(6)
    captured = capture(Function(lambda x: (x - cast(constant, x)) * 2), (6,))
    x = inputs(3, (6,))
    torch.testing.assert_close(captured.forward(x), 2 * (x - constant))


def test_only_the_last_operation_of_a_chain_has_the_shape_of_the_result():
    graph = capture(Function(lambda x: torch.ones(5) - x), (1,))
    assert [node.shape for node in graph.nodes] == [(1,), (1,), (5,)]
