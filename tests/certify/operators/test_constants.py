import pytest
import torch
from torch import nn

from certify.nets import Hull, graph, inputs
from holdfast.certify import Interval, capture
from holdfast.certify.operators.constants import Constant, Constants, Fixed, Folded, Named


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


@pytest.fixture
def table():
    """weight, 2.5, exp(weight), and a folded constant that fails."""
    model = nn.Linear(3, 2)
    sources = (Named("weight"), Fixed(2.5), Folded(torch.exp, (Constant(0),), {}), Named("gone"))
    return model, Constants(model, sources)


def test_values_are_computed_when_asked_for_and_once(table):
    model, constants = table
    values = constants.bind(torch.float64, torch.device("cpu"))
    folded = values[Constant(2)]
    assert folded.dtype == torch.float64
    assert torch.equal(folded, model.weight.exp().double())
    assert values[Constant(2)] is folded
    assert values[Constant(1)].item() == 2.5
    with pytest.raises(AttributeError):
        values[Constant(3)]


def test_a_constant_of_the_same_dtype_is_the_tensor_itself(table):
    model, constants = table
    assert constants.bind(torch.float32, torch.device("cpu"))[Constant(0)] is model.weight


class Quantised(nn.Module):
    """A weight folded from float32 numbers that lie on the edge of a rounding rule."""

    def __init__(self, rule):
        super().__init__()
        self.weight, self.rule = nn.Parameter(torch.tensor([[0.1, 0.3, 0.35, -0.2]] * 3)), rule

    def forward(self, x):
        return torch.nn.functional.linear(x, self.rule(self.weight))


@pytest.mark.parametrize("rule", [lambda w: torch.sign(w - 0.1), lambda w: torch.round(w / 0.1)])
def test_folded_constants_are_those_of_the_deployed_model(rule):
    """In float64 sign(w - 0.1) is 1 and round(0.35 / 0.1) is 3; the model itself has 0 and 4."""
    model = Quantised(rule)
    wide = rule(model.weight.double())
    assert not torch.equal(wide.float(), rule(model.weight))
    captured = capture(model, (4,))
    bounds = Interval().bound(captured, torch.eye(4), Hull(0.0), torch.eye(3))
    wanted = rule(model.weight.detach()).double().T
    torch.testing.assert_close(bounds.lower, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(bounds.upper, wanted, atol=1e-12, rtol=0)


def test_gradients_flow_through_a_folded_constant_into_another_dtype():
    model = Quantised(torch.exp)
    capture(model, (4,)).forward(torch.eye(4).double()).sum().backward()
    torch.testing.assert_close(model.weight.grad, model.weight.detach().exp())


def test_names_look_through_folded_constants(table):
    assert table[1].names([Constant(2), Constant(1), Constant(0)]) == ["weight"]
    assert "first.parametrizations.weight.original0" in graph("functional").parameters


def test_whole_numbers_keep_their_type():
    index = Fixed(torch.tensor([1, 2]))
    values = Constants(nn.Identity(), (index,)).bind(torch.float64, torch.device("cpu"))
    assert values[Constant(0)].dtype == torch.int64
    assert values.floating(Constant(0)).dtype == torch.float64
