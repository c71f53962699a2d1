import pytest
import torch

from holdfast.attacks.signhunter import SignHunter
from holdfast.attacks.square import Square
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.measures.queries import Queries, any_of, on_common
from holdfast.threats import Linf
from nets import examples, small_net

RIGHT = torch.tensor([True, True, True, True, False])


def outcome(broken, queries):
    return Queries(RIGHT, torch.tensor(broken, dtype=torch.bool), torch.tensor(queries))


class Asked(torch.nn.Module):
    """A network that keeps what it was asked."""

    def __init__(self, net):
        super().__init__()
        self.net, self.seen = net, []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.net(x)


def test_figures_by_hand():
    found = outcome([1, 1, 0, 1, 0], [1, 30, 50, 8, 0])
    assert found.failure_rate == 1 / 4
    assert found.robust_accuracy == 1 / 5
    assert found.mean_queries == 13
    assert found.median_queries == 8
    assert found.mean_spent == (1 + 30 + 50 + 8) / 4
    assert found.rows(torch.tensor([0, 1])).median_queries == 15.5
    assert (
        found.success_curve([0, 1, 7, 8, 29, 30, 999])
        == [0, 1 / 4, 1 / 4, 1 / 2, 1 / 2] + [3 / 4] * 2
    )


def test_nothing_right_or_broken_has_no_figures():
    none = Queries(RIGHT[4:], RIGHT[4:], torch.tensor([0]))
    assert none.failure_rate is none.mean_queries is none.median_queries is None
    assert none.mean_spent is None
    assert none.success_rate(10) is None
    assert none.robust_accuracy == 0
    stands = outcome([0] * 5, [9, 9, 9, 9, 0])
    assert stands.failure_rate == 1
    assert stands.mean_queries is None


def test_the_curve_never_falls_and_ends_at_the_successes():
    found = outcome([1, 1, 0, 1, 0], [1, 30, 50, 8, 0])
    curve = found.success_curve(range(60))
    assert curve == sorted(curve)
    assert curve[-1] == 1 - found.failure_rate


def test_common_successes_are_those_of_all():
    first = outcome([1, 1, 0, 1, 0], [1, 30, 50, 8, 0])
    second = outcome([0, 1, 1, 1, 0], [50, 4, 5, 6, 0])
    common = on_common({"first": first, "second": second})
    assert [each.mean_queries for each in common.values()] == [19, 5]
    assert all(each.failure_rate == 0 for each in common.values())
    with pytest.raises(InputError, match="the same examples"):
        on_common({"first": first, "short": second.rows(torch.arange(2))})


def test_restarts_spend_until_one_succeeds():
    joined = any_of([outcome([1, 0, 0, 0, 0], [3, 9, 9, 9, 0]), outcome([1, 1, 0, 0, 0], [9] * 5)])
    assert joined.broken.tolist() == [True, True, False, False, False]
    assert joined.queries.tolist()[:4] == [3, 18, 18, 18]


def test_an_example_that_was_wrong_cannot_be_broken():
    with pytest.raises(InputError, match="was wrong when clean"):
        outcome([0, 0, 0, 0, 1], [1] * 5)
    with pytest.raises(InputError, match="do not fit"):
        Queries(RIGHT, RIGHT, torch.zeros(3))


@pytest.mark.parametrize("attack", [Square(queries=25), SignHunter(queries=25)])
@pytest.mark.parametrize("eps", [0.02, 0.15])
def test_queries_are_what_the_network_was_asked(attack, eps):
    """One example at a time: calls of the network, less the clean one and the last."""
    net = small_net()
    x, y = examples(6, net, wrong=1)
    for row in range(len(x)):
        asked = Asked(net)
        one = slice(row, row + 1)
        result = attack.run(
            FrozenModel(asked, block=1), x[one], y[one], Linf(eps), keys=Keys.of(3, [row])
        )
        found = Queries.of(result)
        calls = len(asked.seen) - 1 - int(found.broken)
        assert int(found.queries) == calls
        if not bool(found.broken) and row:
            assert calls == 25
        if row == 0:
            assert (bool(found.correct), calls) == (False, 0)
