from itertools import pairwise

import pytest
import torch

from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.reproduce.square_progress import (
    REPRODUCTION,
    amplified,
    chosen,
    named,
)
from holdfast.threats.text import parse
from nets import examples, small_net


class Asked(torch.nn.Module):
    """A network that keeps what it was asked."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, x):
        self.seen.append(x.clone())
        return self.net(x)


@pytest.mark.slow
def test_a_short_run_is_the_beginning_of_a_longer_one():
    net = small_net(shape=(1, 8, 8))
    x, y = examples(1, net, shape=(1, 8, 8))
    rows = REPRODUCTION.rows(REPRODUCTION.size("scaled"))
    for norm in ("linf", "l2"):
        asked = []
        for row in (row for row in rows if row.name.startswith(norm)):
            model = Asked(net)
            threat = parse(f"{norm}:0.001")
            row.attack.run(FrozenModel(model, block=1), x, y, threat, keys=Keys.of(0, [4]))
            asked.append(torch.cat(model.seen)[1 : 1 + row.attack.queries])
        assert [len(each) for each in asked] == [2, 10, 100, 500]
        for short, longer in pairwise(asked):
            assert torch.equal(short, longer[: len(short)])


@pytest.mark.slow
def test_margins_fall_with_the_queries(quickly):
    finding, _ = quickly("square-progress")
    for norm in ("linf", "l2"):
        short, longer = (finding.columns[named(norm, budget)] for budget in (2, 10))
        assert bool((longer["margin"] <= short["margin"]).all())
        assert bool((longer["margin"] < short["margin"]).any())


def test_the_margin_must_fall():
    (claim,) = REPRODUCTION.claims
    falling = {named(n, b): {"mean_margin": 5.0 - b / 100} for n in ("linf", "l2") for b in (2, 10)}
    assert claim.judge(falling) is True
    assert claim.judge(falling | {named("l2", 10): {"mean_margin": 9.0}}) is False


def test_perturbations_fill_the_range():
    delta = torch.tensor([[[0.0, 0.1], [-0.2, 0.2]]])
    shown = amplified(delta)
    assert torch.equal(shown, torch.tensor([[[0.5, 0.75], [0.0, 1.0]]]))
    assert torch.equal(amplified(delta * 0), torch.full_like(delta, 0.5))


def test_the_slowest_right_images_are_shown():
    last = {
        "correct": torch.tensor([True, False, True, True, True]),
        "queries": torch.tensor([3, 0, 500, 40, 7]),
    }
    assert chosen({2: {}, 500: last}) == [2, 3, 4]


@pytest.mark.slow
def test_the_figure_has_a_picture_and_a_perturbation_each(quickly):
    finding, _ = quickly("square-progress")
    figure = REPRODUCTION.draw(finding, REPRODUCTION)
    assert len(figure.axes) == 2 * 2 * 3 * 2
    assert figure.axes[0].get_title().startswith("linf, 2 queries\nmargin ")
