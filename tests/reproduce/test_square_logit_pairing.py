import pytest

from holdfast.reproduce.square_logit_pairing import PUBLISHED, REPRODUCTION


def test_published_figures_are_those_of_the_table_and_keep_the_claims():
    assert PUBLISHED["LSQ: Square"]["robust_accuracy"] == 0.026
    assert PUBLISHED["CLP: PGD_1"]["robust_accuracy"] == 0.624
    published = {name: dict(each) for name, each in PUBLISHED.items()}
    assert all(claim.judge(published) for claim in REPRODUCTION.claims)


def test_claims_need_both_defences():
    weak = {name: dict(each) for name, each in PUBLISHED.items()}
    weak["LSQ: Square"] = {"robust_accuracy": 0.7}
    weak["CLP: PGD_R"] = {"robust_accuracy": 0.6}
    assert not any(claim.judge(weak) for claim in REPRODUCTION.claims)


@pytest.mark.slow
def test_it_runs(quickly):
    finding, kept = quickly("square-logit-pairing")
    assert set(finding.lines) == set(PUBLISHED)
    assert (kept.checkpoints / "digits-clp-quick.safetensors").is_file()
