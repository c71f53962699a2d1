import pytest

from holdfast.reproduce.verified_two_phases import ENVELOPE, ONE_SHOT, RADII, REPRODUCTION, name_of
from reproduce.judged import holds


def curve(star, decay):
    """A curve that is the radius up to `star` and `decay` of the excess beyond."""
    return {
        name_of(eps): {
            ENVELOPE: eps if eps <= star else max(0.0, star - decay * (eps - star)),
            ONE_SHOT: eps if eps <= star else 0.0,
        }
        for eps in RADII
    }


def test_the_claims_ask_for_two_phases():
    assert holds(REPRODUCTION, curve(0.1, 2.0)) == [True, True]
    assert holds(REPRODUCTION, curve(0.1, 100.0)) == [True, False]
    assert holds(REPRODUCTION, curve(1.0, 1.0)) == [False, False]
    late = curve(0.1, 2.0)
    late[name_of(RADII[0])][ONE_SHOT] = 0.0
    assert holds(REPRODUCTION, late)[0] is False


@pytest.mark.slow
def test_a_quick_run_draws_a_curve(quickly):
    finding, _ = quickly(REPRODUCTION)
    assert list(finding.lines) == [name_of(eps) for eps in RADII]
    for eps, line in zip(RADII, finding.lines.values(), strict=True):
        assert 0 <= line[ONE_SHOT] <= line[ENVELOPE] <= eps
