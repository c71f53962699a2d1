import pytest
import torch

from certify.radius_cases import case
from holdfast.certify import Dual, Interval, margin_rows
from holdfast.certify.radii.newton import Newton
from holdfast.certify.radii.radius import Bracket, Look
from holdfast.core.errors import InputError
from holdfast.threats import L2, Linf


def test_the_slope_is_that_of_finite_differences():
    graph, x, y = case(seed=2, count=3)
    spec = margin_rows(y, 3).double()
    radius = torch.tensor([0.03, 0.05, 0.08], dtype=torch.float64)
    for kind in (Linf, L2):
        look = Newton()._look(graph, x, kind(radius), spec, radius, None)
        ends = [
            Dual().bound(graph, x, kind(radius + step), spec).lower.amin(1)
            for step in (1e-6, -1e-6)
        ]
        torch.testing.assert_close(look.slope, (ends[0] - ends[1]) / 2e-6, rtol=0.01, atol=1e-4)
        assert (look.slope < 0).all()


def test_a_step_goes_to_the_root_of_the_tangent():
    one = torch.ones(1, dtype=torch.float64)
    bracket = Bracket.around(one.view(1, 1), one)
    look = Look(0 * one, -one.view(1, 1), -4 * one)
    bracket = bracket.after(0.5 * one, look)
    assert float(Newton()._next(bracket)) == pytest.approx(0.25 - 0.5e-4)


def test_a_linear_model_takes_two_steps_and_one_to_close():
    graph, x, y = case(sizes=(6, 3))
    found = Newton().find(graph, x, y, Linf(0.5, box=None))
    assert (found.evaluations <= 4).all()


def test_it_ends_at_a_root_after_a_few_steps():
    """Eq. 3.29: the least bound is a small positive number; five or six steps, and one to close."""
    looks = []
    for seed, kind in enumerate((Linf, L2)):
        graph, x, y = case(seed=seed, count=5)
        found = Newton().find(graph, x, y, kind(1.0))
        least = Dual().bound(graph, x, kind(found.radius), margin_rows(y, 3)).lower.amin(1)
        assert ((least > 0) & (least < 1e-3)).all()
        looks.append(found.evaluations)
    assert torch.cat(looks).double().mean() < 8


def test_a_method_without_gradients_is_refused():
    with pytest.raises(InputError, match="no gradients"):
        Newton(method=Interval())
