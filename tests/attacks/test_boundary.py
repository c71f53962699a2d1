"""The Boundary attack: decisions only, closed form on a hyperplane, budgets."""

import pytest
import torch

from holdfast.attacks.boundary import Boundary, orthogonal
from holdfast.core.errors import UnsupportedThreat
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L2, Linf
from nets import examples, small_net


class Decided(torch.nn.Module):
    """A net that answers with the one-hot vector of its decision."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        logits = self.net(x)
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x.dtype)


def run(attack, net, x, y, threat, **options):
    return attack.run(
        FrozenModel(net, block=3), x, y, threat, keys=Keys.of(0, range(len(x))), **options
    )


@pytest.mark.slow
def test_only_the_decision_is_used():
    net = small_net()
    x, y = examples(5, net)
    seen = run(Boundary(queries=80), net, x, y, L2("inf"))
    assert torch.equal(seen.x_adv, run(Boundary(queries=80), Decided(net), x, y, L2("inf")).x_adv)


@pytest.mark.slow
def test_it_comes_near_the_distance_to_a_hyperplane():
    model = torch.nn.Linear(6, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 1.0, 3.0, -1.0], [0.0] * 6]))
        model.bias.zero_()
    x, y = torch.full((2, 6), 0.3), torch.tensor([0, 0])
    exact = float((model(x)[0, 0].abs() / model.weight[0].norm()).detach())
    result = run(Boundary(queries=1500), model, x, y, L2("inf", box=None))
    assert bool(result.success.all())
    assert bool((result.size >= exact - 1e-5).all())
    assert bool((result.size <= 1.05 * exact).all())


@pytest.mark.slow
def test_more_queries_are_never_worse_and_all_are_counted():
    net = small_net()
    x, y = examples(5, net)
    few, many = (run(Boundary(queries=n), net, x, y, L2("inf")) for n in (40, 160))
    assert few.forwards.tolist() == [42] * 5
    assert bool((many.size <= few.size + 1e-6).all())
    assert float(many.size.median()) < float(few.size.median())


def test_a_finite_radius_ends_the_walk_early():
    net = small_net()
    x, y = examples(5, net)
    result = run(Boundary(queries=300), net, x, y, L2(2.0))
    assert bool((result.size <= 2.0 + 1e-6).all())
    assert bool((result.forwards[result.success] < 302).any())


def elsewhere(net, y):
    """Corners of the box that the net takes for another class than y, one for each."""
    corners = torch.rand(200, 2, 7, 6, generator=torch.Generator().manual_seed(5)).round()
    classes = net(corners).argmax(1)
    rows = torch.stack([(classes != label).nonzero()[0, 0] for label in y])
    return corners[rows], classes[rows]


def test_the_given_start_is_where_it_begins():
    net = small_net()
    x, y = examples(3, net)
    start, _ = elsewhere(net, y)
    result = run(Boundary(queries=1, draws=1), net, x, y, L2("inf"), start=start)
    assert torch.equal(result.x_adv, start)


def test_targets_are_reached_from_a_start_of_that_class():
    net = small_net()
    x, y = examples(4, net)
    start, targets = elsewhere(net, y)
    result = run(Boundary(queries=60), net, x, y, L2("inf"), start=start, targets=targets)
    assert torch.equal(net(result.x_adv).argmax(1), targets)
    assert bool((result.size < (start - x).flatten(1).norm(dim=1)).all())


def test_directions_are_orthogonal_and_of_unit_length():
    away = torch.randn(3, 2, 7, 6, generator=torch.Generator().manual_seed(0))
    direction = orthogonal(away, Keys.of(0, range(3)), 0)
    assert torch.allclose((away * direction).flatten(1).sum(1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(direction.flatten(1).norm(dim=1), torch.ones(3))


def test_other_norms_are_refused():
    with pytest.raises(UnsupportedThreat, match="Boundary does not search linf"):
        Boundary().run(small_net(), torch.rand(1, 2, 7, 6), torch.tensor([0]), Linf(0.1))
