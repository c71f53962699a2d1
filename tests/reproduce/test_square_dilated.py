import pytest

from holdfast.reproduce.square_dilated import PUBLISHED, REPRODUCTION
from holdfast.reproduce.subjects import CIFAR, DILATED


def test_published_networks_come_from_a_module_and_files():
    subjects = REPRODUCTION.size("published").subjects
    assert [each.library for each in subjects] == [
        "drn:drn_a_50",
        "drn:drn_c_42",
        "drn:drn_d_38",
    ]
    assert PUBLISHED["drn_d_38"]["mean_queries"] == 48


def test_dilation_must_be_no_defence():
    (claim,) = REPRODUCTION.claims
    assert claim.judge({CIFAR.name: {"mean_spent": 60.0}, DILATED.name: {"mean_spent": 90.0}})
    far = {CIFAR.name: {"mean_spent": 60.0}, DILATED.name: {"mean_spent": 130.0}}
    assert claim.judge(far) is False


@pytest.mark.slow
def test_it_runs(quickly):
    finding, _ = quickly("square-dilated")
    assert list(finding.lines) == ["digits-quick"]
