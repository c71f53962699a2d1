import pytest

from holdfast.reproduce.verified_radius_search import (
    HALVED,
    LOOKS,
    RATIO,
    REPRODUCTION,
    SECANT,
)
from reproduce.judged import holds


def test_the_claims_hold_on_the_published_figures():
    published = REPRODUCTION.published
    assert len(published) == 42
    assert published["MNIST FC1 l2: MMR"] == {LOOKS: 5.86, RATIO: 0.4186, HALVED: 14}
    assert published["CIFAR10 CNN linf: L-PER"][LOOKS] == 8.61
    assert holds(REPRODUCTION) == [True] * 3
    worse = {name: {LOOKS: 20.0, RATIO: 1.5, HALVED: 12.0} for name in published}
    assert holds(REPRODUCTION, worse) == [False] * 3


@pytest.mark.slow
def test_a_quick_run_searches(quickly):
    finding, _ = quickly(REPRODUCTION)
    (line,) = finding.lines.values()
    assert line[LOOKS] <= line[HALVED]
    assert line[SECANT] < line[HALVED]
