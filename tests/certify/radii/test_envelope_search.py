import pytest
import torch

from certify.radii.test_envelope import A, net
from certify.radius_cases import case
from holdfast.certify import Dual, Interval
from holdfast.certify.radii.envelope_search import EnvelopeSearch
from holdfast.certify.radii.radius import Bisection
from holdfast.core.errors import InputError
from holdfast.threats import L2, Linf

PUBLISHED = {"method": Dual(schedule="plain"), "intervals": False}


@pytest.mark.parametrize(("kind", "radius", "looks"), [(Linf, 0.33331, 8), (L2, 0.42688, 10)])
def test_the_golden_search(kind, radius, looks):
    x, y = torch.tensor([[0.5, 0.5]], dtype=torch.float64), torch.tensor([0])
    found = EnvelopeSearch(**PUBLISHED).find(net(A), x, y, kind(2.0, box=None))
    halved = Bisection(method=PUBLISHED["method"]).find(net(A), x, y, kind(2.0, box=None))
    assert float(found.radius) == pytest.approx(radius, abs=1e-4)
    assert float(halved.radius) == pytest.approx(radius, abs=1e-4)
    assert int(halved.evaluations) == 15
    assert int(found.evaluations) == looks


@pytest.mark.slow
def test_it_never_needs_more_looks_than_halving_and_never_ends_lower():
    fewer = []
    for seed in range(2):
        graph, x, y = case(seed=seed, count=5)
        for kind in (Linf, L2):
            found = EnvelopeSearch(intervals=False).find(graph, x, y, kind(0.5))
            halved = Bisection().find(graph, x, y, kind(0.5))
            assert (found.evaluations <= halved.evaluations).all()
            assert (found.radius >= halved.radius - 1e-4).all()
            fewer.append((found.evaluations < halved.evaluations).any())
    assert all(fewer)


def test_a_method_without_forms_is_refused():
    with pytest.raises(InputError, match="no linear forms"):
        EnvelopeSearch(method=Interval())
