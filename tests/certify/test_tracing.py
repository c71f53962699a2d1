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
        self.features = nn.Sequential(nn.Linear(6, 4), nn.ModuleList([nn.Tanh()])[0])

    def forward(self, x):
        return self.features(x)


def test_the_module_path_of_an_unknown_operation_is_named():
    with pytest.raises(CaptureError, match=r"tanh at 'features\.1' \(node tanh\)"):
        capture(Nested(), (6,))


REFUSED = {
    "length of the batch": (lambda x: x.reshape(len(x), -1), "fixes the batch size|their number"),
    "frozen batch": (lambda x: x.reshape(2, 6), "fixes their number"),
    "branch on a batch of one": (lambda x: x if x.shape[0] > 1 else -x, "batch of 1"),
    "squeezed batch of one": (lambda x: x.squeeze(), "batch of 1"),
    "random": (lambda x: x + torch.rand(6), "differs"),
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
