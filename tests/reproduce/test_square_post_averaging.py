import pytest
import torch

from holdfast.measures.queries import Queries
from holdfast.reproduce.square_post_averaging import REPRODUCTION, with_fresh_draws


def test_fresh_draws_are_counted_over_all_images():
    right = torch.tensor([True, True, True, False])
    broken = torch.tensor([True, True, False, False])
    found = with_fresh_draws(
        {"Square": Queries(right, broken, torch.tensor([3, 4, 9, 0]))},
        {"Square": {"again": torch.tensor([True, False, False, True])}},
    )
    assert found["Square"]["robust_accuracy"] == 0.25
    assert found["Square"]["fresh_accuracy"] == 0.5
    assert found["clean"]["robust_accuracy"] == 0.75


def test_published_figures_keep_the_claims():
    published = {name: dict(each) for name, each in REPRODUCTION.published.items()}
    assert all(claim.judge(published) for claim in REPRODUCTION.claims)
    published["Square"] = {"robust_accuracy": 0.9}
    assert REPRODUCTION.claims[0].judge(published) is False


@pytest.mark.slow
def test_it_runs(quickly):
    finding, kept = quickly("square-post-averaging")
    assert set(finding.lines) == {"clean", "PGD", "Square"}
    assert "accuracy on fresh draws" in kept.report_file.read_text()
    assert "again" in finding.columns["Square"]
