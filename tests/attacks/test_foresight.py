"""Looking ahead in free places: fewer blocks, and the same walk to the bit."""

import pytest
import torch

from holdfast.attacks.foresight import Fan
from holdfast.attacks.rows import Rows
from holdfast.attacks.square import Square
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.losses.cross_entropy import CrossEntropy
from holdfast.losses.margin import Margin
from holdfast.threats import L1, L2, Linf
from nets import examples, small_net


def block(steps):
    """Rows of one feature, whose points are their places."""
    place = torch.arange(len(steps))
    x = place[:, None].float()
    step = torch.tensor(steps)
    columns = (place, place * 0, step, step.clone(), Keys.of(0, place), x, x.clone(), place, None)
    return Rows(*columns, Linf(0.1))


class Blind(Square):
    """The same attack, which does not look ahead."""

    foresees = False


def test_free_places_are_dealt_evenly():
    active = torch.tensor([False, True, False, False, True, False, False])
    assert Fan.over(active).places.tolist() == [[1, 0, 3], [4, 2, 5]]


@pytest.mark.parametrize("walking", [0, 4])
def test_too_few_free_places_are_left_alone(walking):
    assert Fan.over(torch.arange(7) < walking) is None


def test_places_take_what_their_row_holds_and_one_move_more_each():
    rows = block([8, 0, 5, 0, 0, 0])
    fan = Fan(torch.tensor([[0, 1, 3], [2, 4, 5]]))
    fan.open(rows)
    assert rows.example.tolist() == [0, 0, 2, 0, 2, 2]
    best = torch.arange(6.0)
    fan.follow(rows, best)
    assert best.tolist() == [0, 0, 2, 0, 2, 2]
    assert rows.step.tolist() == [8, 9, 5, 10, 6, 7]


@pytest.mark.parametrize(
    ("idle", "steps", "reached"),
    [
        ([0, 0, 0, 0], 99, 0),  # the first matters
        ([1, 1, 0, 1], 99, 2),
        ([1, 1, 1, 1], 99, 3),  # none does
        ([1, 1, 1, 1], 7, 1),  # the run ends before
    ],
)
def test_a_row_goes_on_to_the_first_that_matters(idle, steps, reached):
    rows = block([5, 6, 7, 8])
    logits = torch.arange(8.0).view(4, 2)
    fan = Fan(torch.arange(4)[None])
    fan.skip(rows, torch.tensor(idle).bool(), steps, logits)
    assert rows.point[0] == reached
    assert logits[0].tolist() == [2 * reached, 2 * reached + 1]
    assert (rows.step[0], rows.looks[0]) == (5 + reached, 5 + reached)


def test_places_that_have_not_moved_are_not_gone_to():
    rows = block([5, 5, 5])
    Fan(torch.arange(3)[None]).skip(rows, torch.ones(3, dtype=torch.bool), 99)
    assert rows.step[0] == 5


@pytest.mark.parametrize("threat", [Linf(0.05), L2(0.3), L1(1.5)], ids=["linf", "l2", "l1"])
def test_the_walk_is_the_same_to_the_bit(threat):
    net = small_net()
    x, y = examples(5, net)
    keys, found, computed = Keys.of(0, range(5)), [], []
    for attack in (Square, Blind):
        model = FrozenModel(net, block=13)
        found.append(attack(queries=60).run(model, x, y, threat, keys=keys))
        computed.append(model.passes.forwards + model.passes.padding)
    ours, known = found
    assert not bool(ours.success.all())
    for name in ("x_adv", "margin", "loss", "forwards", "outcome", "success"):
        assert torch.equal(getattr(ours, name), getattr(known, name)), name
    assert computed[0] < 0.8 * computed[1]
    assert int(ours.forwards.sum()) + ours.padding == computed[0]


def test_only_where_the_loss_is_the_margin():
    assert Square().foresees
    assert Square(loss=Margin()).foresees
    assert not Square(loss=CrossEntropy()).foresees
