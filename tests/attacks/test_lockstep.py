"""The oracle of lockstep attacks: books, closed rows, padding, smallest successes, targets."""

import pytest
import torch

from holdfast.attacks.lockstep import LockstepAttack
from holdfast.core.errors import InputError
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.threats import L2, Linf
from nets import examples, small_net


class Walk(LockstepAttack):
    """Runs a function on the oracle."""

    def __init__(self, body):
        self.body = body

    def walk(self, oracle):
        self.body(oracle)


class Smallest(Walk):
    """The same, for the smallest success."""

    smallest = True


class Recorded(torch.nn.Module):
    """A net that keeps the rows it saw."""

    def __init__(self, net):
        super().__init__()
        self.net, self.rows = net, []

    def forward(self, x):
        self.rows.append(x.detach().clone())
        return self.net(x)


def threshold(x):
    """Class 1 where the first feature exceeds 0.5."""
    return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], dim=1)


def at(oracle, value):
    points = oracle.x.clone()
    points[:, 0] = value
    return points


def search(oracle):
    """Random points of the threat, by the oracle's keys."""
    for step in range(6):
        oracle.ask(oracle.threat.sample(oracle.x, keys=oracle.keys.fold("walk"), step=step))


def test_every_pass_is_in_the_books():
    net = small_net()
    x, y = examples(5, net)

    def body(oracle):
        third = torch.arange(len(oracle.x)) == 1
        oracle.ask(oracle.x, third)
        oracle.ask_gradient(oracle.x)
        oracle.ask_jacobian(oracle.x, torch.tensor([[0, 2]]).expand(len(oracle.x), 2))
        assert (oracle.spent - 6)[oracle.open].tolist() == [
            int(each) for each in third[oracle.open]
        ]

    frozen = FrozenModel(net, block=3)
    result = Walk(body).run(frozen, x, y, Linf(0.1))
    assert result.forwards.tolist() == [3, 4, 3, 3, 4]
    assert result.backwards.tolist() == [3] * 5
    computed = frozen.passes.forwards + frozen.passes.padding
    assert int(result.forwards.sum()) + result.padding == computed
    assert result.padding > 0


def test_closed_rows_are_not_asked_again():
    model = Recorded(threshold)
    x, y = torch.tensor([[0.1, 0.0], [0.4, 0.25]]), torch.tensor([0, 0])

    def body(oracle):
        oracle.ask(at(oracle, 0.55))
        assert oracle.open.tolist() == [True, False]
        model.rows.clear()
        seen = oracle.ask(at(oracle, 0.35))
        assert [rows[:, 1].unique().tolist() for rows in model.rows] == [[0.0]]
        assert seen.margin[1] == torch.inf
        assert seen.loss[1] == -torch.inf

    result = Walk(body).run(FrozenModel(model, block=2), x, y, Linf(0.25))
    assert result.success.tolist() == [False, True]
    assert result.forwards.tolist() == [3, 3]


def test_wrong_inputs_are_never_asked():
    net = small_net()
    x, y = examples(4, net, wrong=2)
    result = Walk(search).run(FrozenModel(net, block=3), x, y, Linf(0.1))
    assert result.forwards[:2].tolist() == [1, 1]
    assert result.outcome[:2].tolist() == [Outcome.MISCLASSIFIED] * 2
    assert torch.equal(result.x_adv[:2], x[:2])


@pytest.mark.parametrize("kind", [Walk, Smallest])
def test_neighbours_and_order_do_not_matter(kind):
    net = small_net()
    x, y = examples(5, net)
    threat = L2(torch.tensor([0.5, 1.0, 2.0, 3.0, 4.0]))

    def run(rows):
        keys = Keys.of(0, rows)
        frozen = FrozenModel(net, block=3)
        return kind(search).run(frozen, x[rows], y[rows], threat.rows(rows), keys=keys)

    whole, order = run(torch.arange(5)), torch.tensor([3, 0, 4, 1, 2])
    turned, alone = run(order), run(torch.tensor([3]))
    assert torch.equal(whole.x_adv[order], turned.x_adv)
    assert torch.equal(whole.forwards[order], turned.forwards)
    assert torch.equal(whole.x_adv[3:4], alone.x_adv)


def test_the_smallest_success_stays_the_answer_without_a_radius():
    def body(oracle):
        for value in (0.9, 0.6, 0.3, 0.8):
            oracle.ask(at(oracle, value))
            assert bool(oracle.open.all())
        assert torch.allclose(oracle.smallest_size, torch.tensor([0.4]))

    x, y = torch.tensor([[0.2, 0.7]]), torch.tensor([0])
    result = Smallest(body).run(FrozenModel(threshold, block=1), x, y, L2("inf"))
    assert torch.allclose(result.size, torch.tensor([0.4]))


def test_a_success_outside_a_finite_radius_is_projected_and_looked_at():
    def body(oracle):
        oracle.ask(at(oracle, 0.9))

    x, y = torch.tensor([[0.2, 0.7], [0.35, 0.7]]), torch.tensor([0, 0])
    result = Smallest(body).run(FrozenModel(threshold, block=2), x, y, L2(0.2))
    assert result.success.tolist() == [False, True]
    assert torch.allclose(result.x_adv[:, 0], torch.tensor([0.4, 0.55]))
    assert result.forwards.tolist() == [3, 3]
    assert torch.allclose(result.margin, torch.tensor([0.2, -0.1]), atol=1e-6)


def test_an_infinite_radius_among_finite_ones_keeps_its_row_open():
    def body(oracle):
        oracle.ask(at(oracle, 0.6))
        assert oracle.open.tolist() == [False, True]
        oracle.ask(at(oracle, 0.51))

    x, y = torch.tensor([[0.4, 0.7], [0.4, 0.7]]), torch.tensor([0, 0])
    threat = L2(torch.tensor([0.3, torch.inf]))
    result = Smallest(body).run(FrozenModel(threshold, block=2), x, y, threat)
    assert torch.allclose(result.size, torch.tensor([0.2, 0.11]))


def test_points_that_may_not_be_kept_are_not():
    def body(oracle):
        seen = oracle.ask(at(oracle, 0.6), keep=False)
        assert bool((seen.margin < 0).all())
        assert bool(oracle.open.all())

    x, y = torch.tensor([[0.4, 0.7]]), torch.tensor([0])
    result = Walk(body).run(FrozenModel(threshold, block=1), x, y, Linf(0.3))
    assert not bool(result.success.any())
    assert torch.equal(result.x_adv, x)


def test_points_outside_the_threat_do_not_count():
    def body(oracle):
        oracle.ask(at(oracle, 0.9))

    x, y = torch.tensor([[0.4, 0.7]]), torch.tensor([0])
    result = Walk(body).run(FrozenModel(threshold, block=1), x, y, Linf(0.3))
    assert not bool(result.success.any())
    assert torch.equal(result.x_adv, x)


def test_targets_must_be_reached():
    def model(x):
        return torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5, 4 * x[:, 0] - 3], dim=1)

    def body(oracle):
        oracle.ask(at(oracle, 0.6))
        assert bool(oracle.open.all())
        oracle.ask(at(oracle, 0.95))

    x, y = torch.tensor([[0.4, 0.7]]), torch.tensor([0])
    result = Walk(body).run(FrozenModel(model, block=1), x, y, Linf(0.6), targets=torch.tensor([2]))
    assert result.success.tolist() == [True]
    assert torch.allclose(result.x_adv[:, 0], torch.tensor([0.95]))


def test_a_start_is_projected_and_must_fit():
    seen = []

    def body(oracle):
        seen.append(oracle.start)

    x, y = torch.full((1, 2), 0.4), torch.tensor([0])
    Walk(body).run(threshold, x, y, Linf(0.1), start=torch.ones(1, 2))
    assert torch.allclose(seen[0], torch.full_like(seen[0], 0.5))
    with pytest.raises(InputError, match="start"):
        Walk(body).run(threshold, x, y, Linf(0.1), start=torch.ones(1, 3))
    with pytest.raises(InputError, match="NaN"):
        Walk(body).run(threshold, x, y, Linf(0.1), start=torch.full((1, 2), torch.nan))


def test_labels_must_fit():
    x = torch.full((2, 2), 0.4)
    with pytest.raises(InputError, match="does not fit 2 inputs"):
        Walk(search).run(threshold, x, torch.tensor([0]), Linf(0.1))
    with pytest.raises(InputError):
        Walk(search).run(threshold, x, torch.tensor([0, 5]), Linf(0.1))
