import pytest
import torch
from torch import nn

from certify.nets import graph, inputs
from holdfast.certify import capture
from holdfast.certify.bounds.interval import bound_rows
from holdfast.certify.rounding import Box
from holdfast.certify.substitution.chains import first_run, last_run, pulled, rows_box, whole_run


def _names(run):
    return [type(op).__name__ for _, op in run]


def test_runs_are_found_at_both_ends():
    assert _names(last_run(graph("conv"))) == ["Linear"]
    assert _names(last_run(graph("functional"))) == ["Linear", "Negate", "Scale", "Shift"]
    assert _names(first_run(graph("conv"))) == ["Convolution"]
    assert _names(first_run(graph("residual"))) == ["Shift", "Scale", "Convolution"]
    assert whole_run(graph("conv")) == []
    linear = capture(nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Linear(4, 3)), (2, 3))
    assert _names(whole_run(linear)) == ["Reshape", "Linear", "Linear"]
    assert _names(last_run(linear)) == ["Linear", "Linear"]


def test_no_run_where_the_input_or_the_output_is_shared():
    ends = capture(nn.Sequential(nn.ReLU(), nn.Conv1d(2, 3, 1), nn.Flatten()), (2, 3))
    assert last_run(ends) == []
    assert first_run(ends) == []
    assert last_run(capture(_Skip(), (6,))) == []


class _Skip(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x) + x


@pytest.mark.parametrize("name", ["functional", "conv", "residual"])
def test_pulled_rows_are_the_jacobian(name):
    """Rows through the first run equal rows times the run's Jacobian."""
    captured = graph(name)
    run = first_run(captured) if name != "functional" else last_run(captured)
    start, end = captured.nodes[run[0][0].inputs[0]], run[-1][0]
    values = captured.constants.bind(torch.float64, torch.device("cpu"))

    def value(z):
        for _, op in run:
            z = op.forward([z], values)
        return z

    rows = inputs(2, (3, *end.shape)) - 0.5
    z = inputs(1, start.shape)
    with torch.no_grad():
        found = pulled(run, rows, values, captured)
    jacobian = torch.autograd.functional.jacobian(value, z).reshape(
        rows[0, 0].numel(), z[0].numel()
    )
    torch.testing.assert_close(found, rows.flatten(2) @ jacobian, atol=1e-11, rtol=1e-11)


def test_a_run_of_several_maps_is_merged_into_one_exact_box():
    """Two linear layers, a temperature and a shift are one linear map, whose box is attained."""
    model = nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 4)).double()

    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x):
            return 1 - self.net(x) / 0.5

    captured = capture(Tempered(), (6,))
    x, rows = inputs(3, (6,)), torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.5, 0.0, 0.0, -2.0]]).double()
    with torch.no_grad():
        weight = -2 * rows @ model[1].weight @ model[0].weight
        box = bound_rows(captured, Box(x - 0.1, x + 0.1), rows, rigorous=True)
        value = captured.forward(x) @ rows.T
    drop = 0.1 * weight.abs().sum(1)
    torch.testing.assert_close(box.lower, value - drop, atol=1e-12, rtol=0)
    torch.testing.assert_close(box.upper, value + drop, atol=1e-12, rtol=0)
    assert (box.lower < value - drop).all()


def test_rows_of_each_example_and_shared_rows_agree():
    captured, x = graph("conv"), inputs(3)
    box, rows = Box(x - 0.1, x + 0.1), inputs(1, (4, 5))[0] - 0.5
    shared = bound_rows(captured, box, rows, rigorous=True)
    each = bound_rows(captured, box, rows.expand(3, 4, 5), rigorous=True)
    torch.testing.assert_close(shared.lower, each.lower, atol=1e-12, rtol=0)


def test_an_empty_run_bounds_rows_of_the_box_itself():
    captured = capture(nn.Sequential(nn.Linear(6, 4), nn.ReLU()), (6,))
    box = Box(torch.tensor([[0.0, -1.0]]).double(), torch.tensor([[1.0, 2.0]]).double())
    rows = torch.tensor([[[1.0, -2.0]]]).double()
    values = captured.constants.bind(torch.float64, torch.device("cpu"))
    found = rows_box([], rows, box, values, captured, rigorous=True)
    assert found.lower.item() == pytest.approx(-4.0)
    assert found.upper.item() == pytest.approx(3.0)
    assert found.lower.item() < -4.0


def test_the_radius_of_a_run_counts_the_terms_of_all_its_layers():
    """At least n u T for n = 30 + 2000 products along the way, as `rounding.py` asks."""
    model = nn.Sequential(nn.Linear(30, 2000), nn.Linear(2000, 3)).double()
    captured, x = capture(model, (30,)), inputs(2, (30,))
    with torch.no_grad():
        box = bound_rows(captured, Box(x, x), torch.eye(3).double(), rigorous=True)
        first = x @ model[0].weight.abs().T + model[0].bias.abs()
        total = first @ model[1].weight.abs().T + model[1].bias.abs()
    assert (box.upper - box.lower >= 2 * 2030 * 2.0**-53 * total).all()
    assert (box.upper - box.lower < 1e-8 * total).all()
