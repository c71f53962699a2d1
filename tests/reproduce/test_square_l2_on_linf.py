import pytest

from holdfast.reproduce.square_l2_on_linf import PUBLISHED, REPRODUCTION


def test_published_figures_keep_the_claims_but_where_bandits_win_no_radius():
    assert PUBLISHED["l2 2.0: Square"]["robust_accuracy"] == pytest.approx(0.167)
    assert PUBLISHED["l2 3.0: PGD_100"]["robust_accuracy"] == pytest.approx(0.127)
    published = {name: dict(each) for name, each in PUBLISHED.items()}
    assert [claim.judge(published) for claim in REPRODUCTION.claims] == [True] * 3


def test_claims_fall_where_one_radius_does():
    weak = {name: dict(each) for name, each in PUBLISHED.items()}
    weak["l2 2.5: Square"] = {"robust_accuracy": 0.9}
    weak["l2 3.0: PGD_100"] = {"robust_accuracy": 0.7}
    assert [claim.judge(weak) for claim in REPRODUCTION.claims] == [False] * 3


def test_settings_are_those_of_the_thesis():
    rows = {row.name: row for row in REPRODUCTION.rows(REPRODUCTION.size("scaled"))}
    bandits, simba = (rows[f"l2 2.0: {name}"].attack for name in ("Bandits", "SimBA"))
    assert (bandits.exploration, bandits.tiles) == (0.01, 28)
    assert (simba.basis, simba.order, simba.step_size) == ("pixel", "random", 0.5)
    assert rows["l2 2.5: Square"].attack.p_init == 0.1
    assert rows["l2 2.5: Square"].threat == "l2:2.5"


@pytest.mark.slow
def test_it_runs(quickly):
    finding, _ = quickly("square-l2-on-linf")
    assert set(finding.lines) == set(PUBLISHED)
