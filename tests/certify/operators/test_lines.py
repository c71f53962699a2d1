import pytest
import torch

from certify.intervals import OPS, gaps, grid, hard
from certify.nets import inputs
from holdfast.certify.operators import piecewise_lines, smooth_lines
from holdfast.certify.operators.lines import Lines, chosen, quotient, slack
from holdfast.certify.operators.relaxation import lines_of


def test_the_slack_covers_a_few_roundings_and_vanishes_in_single_precision():
    one = torch.ones(1, dtype=torch.float64, requires_grad=True)
    assert 2e-15 < slack(one).item() < 1e-14
    assert not slack(one).requires_grad
    assert slack(0 * one).item() > 0
    assert (1 + slack(torch.ones(1))).item() == 1


@pytest.mark.parametrize(
    ("module", "name"),
    [(piecewise_lines, "abs"), (piecewise_lines, "shifted"), (smooth_lines, "tanh")],
)
def test_without_the_slack_lines_cut_the_operation(module, name, monkeypatch):
    """The test of every operation has teeth: unrounded intercepts fail it."""
    monkeypatch.setattr(module, "slack", torch.zeros_like)
    box = hard()
    below, above, error = gaps(OPS[name], lines_of(OPS[name], box, adaptive=False), grid(box))
    assert (below < -error).any() or (above < -error).any()


def test_reflected_lines_are_those_of_the_mirror_image():
    a, b, c, d = inputs(4, (5,)) - 0.5
    z = inputs(1, (5,), seed=9)[0]
    low, below, high, above = Lines(a, b, c, d).reflected()
    torch.testing.assert_close(low * z + below, -(c * -z + d))
    torch.testing.assert_close(high * z + above, -(a * -z + b))


def test_positions_and_shares():
    slope = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    assert torch.equal(chosen(slope, slope), torch.tensor([0.0, 0.5, 1.0]))
    assert chosen(None, slope) is slope
    share = quotient(slope, slope - 2, torch.tensor([True, True, False]))
    share.sum().backward()
    assert torch.equal(share.detach(), torch.tensor([1 / 3, -1 / 3, 1.0]))
    assert slope.grad.isfinite().all()
