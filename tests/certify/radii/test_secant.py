import pytest
import torch

from certify.radius_cases import case
from holdfast.certify.radii.radius import Bisection, Bracket, Look
from holdfast.certify.radii.secant import Secant
from holdfast.threats import L2, Linf


def test_a_power_of_the_radius_is_met_after_two_looks():
    power, root = 3.0, 0.4
    clean = torch.tensor([[2.0, 9.0]], dtype=torch.float64)

    def look(radius):
        value = clean * (1 - (radius / root) ** power)
        return Look(radius * (value > 0).all(1), value, 0 * radius)

    bracket = Bracket.around(clean, torch.ones(1, dtype=torch.float64))
    for radius in (0.125, 0.7):
        tried = torch.full((1,), radius, dtype=torch.float64)
        bracket = bracket.after(tried, look(tried))
    assert abs(float(Secant()._next(bracket)) - (root - 0.5e-4)) < 1e-9


@pytest.mark.slow
def test_it_needs_about_half_of_the_looks_of_halving():
    looks, halved = [], []
    for seed in range(2):
        graph, x, y = case(seed=seed, count=5)
        for kind in (Linf, L2):
            looks.append(Secant().find(graph, x, y, kind(1.0)).evaluations)
            halved.append(Bisection().find(graph, x, y, kind(1.0)).evaluations)
    assert torch.cat(looks).double().mean() < 0.65 * torch.cat(halved).double().mean()
    assert int(torch.cat(looks).max()) <= 16
