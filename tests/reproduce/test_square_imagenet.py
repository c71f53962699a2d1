import pytest
import torch

from holdfast.measures.queries import Queries
from holdfast.reproduce.square_imagenet import REPRODUCTION, with_common_successes

PUBLISHED = REPRODUCTION.published


def test_published_figures_are_those_of_the_tables():
    assert PUBLISHED["inception_v3, linf: Square"] == {
        "failure_rate": 0.003,
        "mean_queries": 197,
        "median_queries": 24,
    }
    assert PUBLISHED["vgg16_bn, l2: Bandits"]["failure_rate"] == 0.102
    assert PUBLISHED["resnet50, common l2: SimBA-DCT"]["mean_queries"] == 563
    assert PUBLISHED["resnet50, linf: Parsimonious"]["mean_queries"] is None


def test_common_lines_are_over_the_images_that_all_break():
    right = torch.tensor([True, True, True])
    strong = Queries(right, right, torch.tensor([10, 20, 90]))
    weak = Queries(right, torch.tensor([True, True, False]), torch.tensor([30, 50, 99]))
    found = with_common_successes({"net, l2: Square": strong, "net, l2: Bandits": weak}, {})
    assert found["net, l2: Square"]["mean_queries"] == 40
    assert found["net, common l2: Square"]["mean_queries"] == 15
    assert found["net, common l2: Bandits"]["mean_queries"] == 40


def test_square_must_be_first_on_every_network():
    def lines(cost):
        return {
            f"{net}, {norm}: {attack}": {"mean_spent": value}
            for net in ("a", "b")
            for norm in ("linf", "l2")
            for attack, value in (("Square", 70.0 if net == "a" else cost), ("Bandits", 90.0))
        }

    assert all(claim.judge(lines(80.0)) for claim in REPRODUCTION.claims)
    assert not any(claim.judge(lines(95.0)) for claim in REPRODUCTION.claims)


@pytest.mark.slow
def test_it_runs(quickly):
    finding, kept = quickly("square-imagenet")
    assert "digits-quick, common l2: Square" in finding.lines
    assert kept.read_result()["published_setting"] is False
    assert "linf, to 24 queries" in (kept.path / "figure.svg").read_text()
