"""Decisions within a budget: counts, starts, bisection."""

import pytest
import torch

from holdfast.attacks.decisions import Decisions, adversarial_start, bisect, check_geometry
from holdfast.attacks.lockstep import LockstepAttack
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


class Probe(LockstepAttack):
    """Runs a function on the oracle."""

    smallest = True

    def __init__(self, body):
        self.body = body

    def walk(self, oracle):
        self.body(oracle)


UNBOUNDED = L2("inf")


def attacked(body, model, x, y, threat=UNBOUNDED, **options):
    return Probe(body).run(model, x, y, threat, keys=Keys.of(0, range(len(x))), **options)


def test_the_budget_ends_and_then_all_answers_are_no():
    net = small_net()
    x, y = examples(3, net)

    def body(oracle):
        decisions = Decisions(oracle, 2)
        assert decisions.left[:3].tolist() == [2, 2, 2]
        only = torch.zeros_like(oracle.open)
        only[1] = True
        decisions.fooled(oracle.x, only)
        assert decisions.left[:3].tolist() == [2, 1, 2]
        decisions.fooled(oracle.x, oracle.open)
        assert not bool(decisions.fooled(1 - oracle.x, only).any())
        assert decisions.left[:3].tolist() == [1, 0, 1]

    assert attacked(body, net, x, y).forwards.tolist() == [2, 3, 2]


def test_bisection_finds_the_boundary_of_a_linear_model():
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
        model.bias.copy_(torch.tensor([0.7, -0.7]))
    x, y = torch.tensor([[0.1, 0.5], [0.4, 0.5]]), torch.tensor([0, 0])

    def body(oracle):
        step = torch.tensor([1.0, 0.0])
        high = torch.full((len(oracle.x),), 1.0)
        place = bisect(
            Decisions(oracle, 30), lambda at: oracle.x + at[:, None] * step, oracle.open, high, 20
        )
        assert torch.allclose(place[:2], torch.tensor([0.6, 0.3]), atol=1e-5)

    attacked(body, model, x, y, L2("inf", box=None))


@pytest.mark.parametrize("box", [(0.0, 1.0), None, (-2.0, 1.0)])
def test_a_start_fools_and_lies_in_the_box(box):
    net = small_net()
    x, y = examples(5, net)

    def body(oracle):
        points, found = adversarial_start(oracle, Decisions(oracle, 200), 100)
        assert bool(found[:5].all())
        assert bool((net(points).argmax(1) != oracle.y)[:5].all())
        assert box is None or (points.min() >= box[0] and points.max() <= box[1])

    attacked(body, net, x, y, L2("inf", box=box))


def test_a_given_start_comes_first():
    net = small_net()
    x, y = examples(3, net)
    corners = torch.rand(60, 2, 7, 6, generator=torch.Generator().manual_seed(5)).round()
    start = corners[(net(corners).argmax(1) != y[0]).nonzero().flatten()[:3]]
    usable = (net(start).argmax(1) != y).tolist()

    def body(oracle):
        _, found = adversarial_start(oracle, Decisions(oracle, 1), 1)
        assert found[:3].tolist() == usable

    assert any(usable)
    attacked(body, net, x, y, start=start)


def test_other_norms_and_radii_per_feature_are_refused():
    with pytest.raises(UnsupportedThreat, match="give L2"):
        check_geometry(Linf(0.1), (2.0,), "This")
    with pytest.raises(UnsupportedThreat, match="one radius per example"):
        check_geometry(L2(torch.ones(1, 2, 3)), (2.0,), "This")
