import pytest

from holdfast.reproduce.square_ablation import L2, LINF, PUBLISHED, REPRODUCTION


def lines(changes=()):
    """The published means as if they were ours."""
    found = {name: {"mean_spent": each["mean_queries"]} for name, each in PUBLISHED.items()}
    return found | {name: {"mean_spent": cost} for name, cost in dict(changes).items()}


def test_published_figures_are_those_of_the_tables():
    best = PUBLISHED["linf: square, c signs, vertical"]
    assert (best["mean_queries"], best["median_queries"]) == (73, 11)
    assert PUBLISHED["l2: random signs, grid"]["failure_rate"] == 0.033
    assert PUBLISHED["linf: square, c*h^2 signs, vertical"]["mean_queries"] == 153
    assert len(PUBLISHED) == len(LINF) + len(L2) == 16


def test_the_published_figures_keep_the_claims():
    assert all(claim.judge(lines()) for claim in REPRODUCTION.claims)


@pytest.mark.parametrize(
    ("line", "cost", "broken"),
    [
        ("linf: square, c signs, vertical", 200, {0, 3, 4, 5}),
        ("linf: random, c*h^2 signs, vertical", 150, {2}),
        ("linf: rectangle, c signs, vertical", 69, {3}),
        ("l2: two bumps, grid", 1100, {6, 7}),
    ],
)
def test_claims_fall_where_the_order_does(line, cost, broken):
    judged = [claim.judge(lines({line: cost})) for claim in REPRODUCTION.claims]
    assert {at for at, holds in enumerate(judged) if not holds} == broken


def test_each_variant_changes_one_thing_of_the_attack():
    rows = {row.name: row for row in REPRODUCTION.rows(REPRODUCTION.size("published"))}
    best = rows["linf: square, c signs, vertical"]
    assert repr(best.attack.update) == repr(rows["l2: two bumps, grid"].attack.update)
    assert (best.threat, best.attack.p_init, best.attack.queries) == ("linf:0.05", 0.05, 10_000)
    assert rows["linf: rectangle, c signs, vertical"].attack.update.shape == "rectangle"
    assert rows["l2: one bump, grid"].threat == "l2:5"
    assert len({repr(row.attack) + row.threat for row in rows.values()}) == 16


@pytest.mark.slow
def test_it_runs(quickly):
    finding, _ = quickly("square-ablation")
    assert set(finding.lines) == set(PUBLISHED)
    assert {len(each) for each in finding.outcomes.values()} == {12}
