import torch

from holdfast.reproduce.provable_radii import FILES, LAYERS, REPRODUCTION, ROBUST, STANDARD
from holdfast.reproduce.records import Finding


def lines():
    """Figures in the order that is claimed, in part those of the networks at hand."""
    sets = {f"{kind}_share_{at}": 0.05 for kind in ("on", "unstable") for at in (1, 2, 3)}
    robust = {"median_radius": 0.1, "false_positive_rate": 0.05, "missed_rate": 0.0, **sets}
    robust |= {f"off_share_{at}": 0.9 for at in range(1, LAYERS + 1)}
    wide = {f"unstable_share_{at}": 0.9 for at in range(1, LAYERS + 1)}
    standard = robust | wide | {"median_radius": 0.007, "false_positive_rate": 1.0}
    return {STANDARD: standard, ROBUST: robust}


def test_claims_hold_in_the_published_order_and_fail_reversed():
    told = lines()
    assert [claim.judge(told) for claim in REPRODUCTION.claims] == [True] * 4
    turned = {STANDARD: told[ROBUST], ROBUST: told[STANDARD]}
    assert [claim.judge(turned) for claim in REPRODUCTION.claims] == [False, False, True, False]
    missed = {name: each | {"missed_rate": 0.01} for name, each in told.items()}
    assert REPRODUCTION.claims[2].judge(missed) is False


def test_published_figures_are_those_of_the_text():
    assert REPRODUCTION.published[ROBUST]["certified_accuracy"] == 1 - 0.0582
    assert REPRODUCTION.published[STANDARD]["median_radius"] == 0.007


def test_the_figure_has_radii_and_index_sets():
    columns = {
        f"{kind}: certificates": {
            "radii": torch.tensor([0.1, 0.05, 0.2]),
            "right": torch.tensor([True, False, True]),
        }
        for kind in FILES
    }
    size = REPRODUCTION.size("scaled")
    finding = Finding(outcomes={}, lines=lines(), columns=columns, size=size)
    left, right = REPRODUCTION.draw(finding, REPRODUCTION).axes
    assert len(left.lines) == 5
    assert len(right.patches) == 3 * 2 * LAYERS
