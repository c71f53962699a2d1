from holdfast.reproduce.gradalign_linearisation import NETWORKS, REPRODUCTION, ZEROED, named
from reproduce.judged import builds, holds

ERRORS = {
    named(network, direction, zeroed): {"error": (1 - zeroed) * (2 if direction == "fgsm" else 1)}
    for network in NETWORKS
    for direction in ("fgsm", "random")
    for zeroed in ZEROED
}


def test_claims_hold_on_errors_that_grow_and_fail_on_reversed_ones():
    assert holds(REPRODUCTION, ERRORS) == [True] * 3
    fewer = {name: {"error": -line["error"]} for name, line in ERRORS.items()}
    assert holds(REPRODUCTION, fewer) == [False] * 3


def test_every_row_builds(tmp_path):
    assert len(builds(REPRODUCTION, tmp_path)) == 6
    names = [row.name for row in REPRODUCTION.rows(REPRODUCTION.size("quick"))]
    assert set(ERRORS) < set(names)
