import pytest

from holdfast.reproduce.square_robust_mnist import HUNTER, MANY, ONE, REPRODUCTION, WHITE


def lines(white, one, many, hunter):
    values = {WHITE: white, ONE: one, MANY: many, HUNTER: hunter}
    return {name: {"robust_accuracy": value} for name, value in values.items()}


def test_published_figures_keep_the_claims():
    published = {name: dict(each) for name, each in REPRODUCTION.published.items()}
    assert published[MANY]["robust_accuracy"] == 0.8825
    known = published | {ONE: {"robust_accuracy": 0.89}}
    assert [claim.judge(known) for claim in REPRODUCTION.claims] == [True] * 3


def test_claims_fall_where_they_should():
    judged = [claim.judge(lines(0.8, 0.85, 0.9, 0.88)) for claim in REPRODUCTION.claims]
    assert judged == [False] * 3


@pytest.mark.slow
def test_restarts_never_raise_accuracy(quickly):
    finding, _ = quickly("square-robust-mnist")
    one, many = finding.outcomes[ONE], finding.outcomes[MANY]
    assert not bool((one.broken & ~many.broken).any())
    stands = many.correct & ~many.broken
    assert set(many.queries[stands].tolist()) <= {40}
