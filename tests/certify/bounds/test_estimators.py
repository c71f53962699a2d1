"""Statistical tests at fixed keys: they pass or fail for good. Each interval is five standard
errors wide, which a correct estimator would miss for one choice of keys in a million."""

import math

import pytest
import torch

from certify.nets import inputs
from holdfast.certify.bounds.estimators import (
    cauchy,
    geometric,
    geometric_tail,
    largest_root,
    least_slack,
    length,
    median,
    normal_tail,
    root_mean_square,
)
from holdfast.core.errors import InputError
from holdfast.core.random import Keys

VECTOR = inputs(1, (7,))[0] - 0.4
DRAWS = 3000


def projected(columns, *, normal=False, draws=DRAWS):
    """<v, R_k> for many draws of R, (draws, columns)."""
    keys = Keys.of(5, range(draws)).fold("test")
    shape = (columns, len(VECTOR))
    table = keys.normal(shape).double() if normal else cauchy(keys, shape)
    return table @ VECTOR


def within(values, wanted, scale=1.0):
    """Whether the mean of independent values lies within five standard errors."""
    error = 5 * scale * values.std().item() / math.sqrt(len(values))
    return abs(values.mean().item() - wanted) <= error


def test_cauchy_numbers_have_their_distribution():
    values = cauchy(Keys.of(1, range(200)), (100,)).flatten()
    for at in (-3.0, -1.0, 0.0, 0.5, 10.0):
        assert within((values < at).double(), 0.5 + math.atan(at) / math.pi)
    assert values.dtype == torch.float64
    assert torch.equal(cauchy(Keys.of(1, [7]), (100,)).flatten(), values[700:800])


@pytest.mark.parametrize(("columns", "low", "high"), [(11, 0.5, 0.75), (51, 0.21, 0.24)])
def test_the_median_estimates_the_l1_norm(columns, low, high):
    """Relative std pi / (2 sqrt r), 0.47 and 0.22 for large r, a little more for few columns; half
    of all estimates lie below the norm, for an odd number of columns."""
    relative = median(projected(columns)) / VECTOR.abs().sum()
    assert within((relative < 1).double(), 0.5)
    assert low < relative.std().item() < high
    many = median(projected(1001, draws=300)) / VECTOR.abs().sum()
    spread = math.pi / (2 * math.sqrt(1001))
    assert many.std().item() == pytest.approx(spread, rel=5 / math.sqrt(2 * 300))
    assert many.mean().item() == pytest.approx(1, abs=5 * spread / math.sqrt(300) + 0.005)


def test_the_median_of_even_columns_is_the_lower_one():
    table = torch.tensor([[-3.0, 1.0, 2.0, -5.0]]).unsqueeze(2)
    assert median(table).item() == 2.0
    relative = median(projected(50)) / VECTOR.abs().sum()
    assert -0.05 < relative.median().item() - 1 < -0.01


@pytest.mark.parametrize(
    ("columns", "bias", "spread"), [(10, -0.15, 0.6), (50, -0.03, 0.229), (100, -0.01, 0.157)]
)
def test_even_medians_have_the_bias_and_spread_that_were_measured(columns, bias, spread):
    """Of the lower of both middle values, over 3000 draws."""
    relative = median(projected(columns)) / VECTOR.abs().sum()
    assert relative.median().item() - 1 == pytest.approx(bias, abs=0.01 + spread / 20)
    assert relative.std().item() == pytest.approx(spread, rel=0.12)


def test_the_gradient_of_a_median_goes_through_one_column():
    table = projected(51, draws=4).unsqueeze(2).requires_grad_()
    (gradient,) = torch.autograd.grad(median(table).sum(), table)
    assert (gradient != 0).sum(dim=1).flatten().tolist() == [1, 1, 1, 1]


def test_normal_projections_are_unbiased_in_the_square():
    found = root_mean_square(projected(10, normal=True))
    assert within(found.square(), VECTOR.square().sum().item())
    spread = (found.square() / VECTOR.square().sum()).std().item()
    assert spread == pytest.approx(math.sqrt(2 / 10), rel=0.1)


@pytest.mark.parametrize(("columns", "slack"), [(10, 0.5), (50, 0.3), (200, 0.22), (200, 0.1)])
def test_geometric_means_fall_short_no_more_often_than_the_tail(columns, slack):
    """Eq. 3.92; the bound of Chernoff is not tight, and rates are far below it."""
    draws = 2000 if columns < 200 else 800
    found = geometric(projected(columns, draws=draws), 1) / (1 - slack)
    fails = (found <= VECTOR.abs().sum()).double()
    assert fails.mean().item() <= geometric_tail(columns, slack)
    if (columns, slack) == (200, 0.22):
        assert within(fails, 0.0098)


def test_the_tail_of_a_geometric_mean_has_the_printed_values():
    """The example of the thesis: 6572 norms, failure 0.01, ten repeats, r = 200."""
    share = (0.01 / 6572) ** (1 / 10)
    assert share == pytest.approx(0.262, abs=5e-4)
    assert geometric_tail(200, 0.22) == pytest.approx(0.0828, abs=5e-5)
    assert geometric_tail(200, 0.22) <= share
    assert least_slack(geometric_tail, 200, share) == pytest.approx(0.167, abs=1e-3)
    assert geometric_tail(200, 1e-9) == pytest.approx(1)


def test_the_tail_of_a_normal_estimate_is_that_of_chi_squared():
    found = root_mean_square(projected(20, normal=True))
    for slack in (0.05, 0.2):
        fails = (found / (1 - slack) <= torch.linalg.vector_norm(VECTOR)).double()
        assert within(fails, normal_tail(20, slack))


def test_the_largest_of_several_groups_fails_less_often():
    """One group fails in half of all draws; all of six together, in one of 64."""
    table = projected(6 * 25, draws=1200)
    one = (geometric(table[:, :25], 1) <= VECTOR.abs().sum()).double()
    six = (geometric(table, 6) <= VECTOR.abs().sum()).double()
    assert within(one, 0.5)
    assert within(six, 0.5**6)
    normal = projected(60, normal=True, draws=9).unsqueeze(2)
    roots = torch.stack([root_mean_square(part) for part in normal.split(20, dim=1)])
    torch.testing.assert_close(largest_root(normal, 3), roots.amax(0))


def test_the_least_slack_is_just_enough():
    for tail, samples, failure in ((geometric_tail, 50, 1e-3), (normal_tail, 30, 1e-4)):
        slack = least_slack(tail, samples, failure)
        assert tail(samples, slack) <= failure < tail(samples, slack - 1e-9)
    with pytest.raises(InputError, match=r"^failure=.*samples or repeats"):
        least_slack(geometric_tail, 1, 1e-30)


def test_lengths_have_a_gradient_at_zero():
    table = torch.zeros(2, 3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad((length(table) + root_mean_square(table)).sum(), table)
    assert torch.equal(gradient, torch.zeros(2, 3, 4))
    assert length(torch.tensor([[[3.0], [4.0]]])).item() == 5.0
