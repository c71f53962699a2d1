import pytest

from holdfast.reproduce.square_targeted import PUBLISHED, REPRODUCTION


def lines(changes=()):
    found = {
        name: {"mean_spent": each["mean_queries"], "failure_rate": each["failure_rate"]}
        for name, each in PUBLISHED.items()
    }
    return found | dict(changes)


def test_published_figures_keep_the_claims():
    assert PUBLISHED["linf: Square"]["median_queries"] == 2859
    assert PUBLISHED["l2: Square"]["failure_rate"] == 0.335
    assert [claim.judge(lines()) for claim in REPRODUCTION.claims] == [True, True]


def test_claims_fall_where_the_order_does():
    other = {
        "linf: Parsimonious": {"mean_spent": 10.0, "failure_rate": 0.0},
        "l2: Square": {"mean_spent": 10.0, "failure_rate": 0.1},
    }
    assert [claim.judge(lines(other)) for claim in REPRODUCTION.claims] == [False, False]


def test_every_attack_aims_at_a_class():
    for size in REPRODUCTION.sizes:
        assert all(row.targeted for row in REPRODUCTION.rows(size))


@pytest.mark.slow
def test_it_runs(quickly):
    finding, _ = quickly("square-targeted")
    assert set(finding.lines) | set(finding.skipped) == set(PUBLISHED)
    assert not {"linf: Square", "l2: Square"} & set(finding.skipped)
