"""Pointwise: nothing single can be set back, bisection ends at the boundary, decisions only."""

import pytest
import torch

from holdfast.attacks.pointwise import Pointwise
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.threats import L1, L2
from holdfast.threats.l0 import L0
from nets import examples, small_net


def run(attack, net, x, y, threat, **options):
    return attack.run(
        FrozenModel(net, block=3), x, y, threat, keys=Keys.of(0, range(len(x))), **options
    )


@pytest.mark.slow
def test_no_single_feature_can_be_set_back():
    net = small_net()
    x, y = examples(4, net)
    result = run(Pointwise(queries=250, draws=9), net, x, y, L0("inf"))
    assert bool(result.success.all())
    for x_adv, clean, label in zip(result.x_adv, x, y, strict=True):
        for place in (x_adv != clean).nonzero():
            back = x_adv.clone()
            back[tuple(place)] = clean[tuple(place)]
            assert int(net(back[None]).argmax()) == int(label)


@pytest.mark.slow
def test_passes_are_repeated_until_one_gains_nothing():
    """The model errs with the first feature but not the second, or with the last two: a pass that
    visits the third before the second keeps it, and the next sets it back."""

    def model(x):
        first, second, third = (x > 0.5).unbind(dim=1)
        wrong = ((first & ~second) | (second & third)).to(x.dtype)
        return torch.stack([0.5 - wrong, wrong - 0.5], dim=1)

    x, y = torch.zeros(16, 3), torch.zeros(16, dtype=torch.long)
    attack = Pointwise(queries=9, restarts=1)
    result = run(attack, model, x, y, L0("inf"), start=torch.ones(16, 3))
    for x_adv in result.x_adv:
        assert x_adv.tolist() in ([1, 0, 0], [0, 1, 1])


@pytest.mark.slow
def test_pixels_are_set_back_together_where_they_are_counted():
    net = small_net()
    x, y = examples(3, net)
    start = torch.where(x[[1, 2, 0]] > 0.5, 1.0, 0.0)
    result = run(Pointwise(queries=200), net, x, y, L0("inf", per="pixel"), start=start)
    changed = result.x_adv != x
    assert torch.equal(changed[:, 0], changed[:, 1])


@pytest.mark.slow
def test_bisection_ends_at_the_boundary_of_a_linear_model():
    """One feature alone can cross, at 0.7 from 0.2: the L1 and L2 distance is 0.5."""

    def model(x):
        return torch.stack([0.7 - x[:, 0], x[:, 0] - 0.7], dim=1)

    x, y = torch.full((2, 6), 0.2), torch.tensor([0, 0])
    for threat in (L1("inf"), L2("inf")):
        size = run(Pointwise(queries=300, rounds=14), model, x, y, threat).size
        assert torch.allclose(size, torch.full((2,), 0.5), atol=1e-3)


@pytest.mark.slow
def test_only_the_decision_is_used_within_the_budget():
    net = small_net()
    x, y = examples(5, net)

    def hard(z):
        return torch.nn.functional.one_hot(net(z).argmax(1), 5).to(z.dtype)

    result = run(Pointwise(queries=90), net, x, y, L2("inf"))
    assert torch.equal(result.x_adv, run(Pointwise(queries=90), hard, x, y, L2("inf")).x_adv)
    assert int(result.forwards.max()) <= 92


@pytest.mark.slow
def test_other_starts_find_what_no_order_finds_from_the_given_one():
    """From all bright, features go back to the first four whatever the order; the last one alone
    fools only while the first four are dark."""

    def model(x):
        bright = x > 0.5
        many = bright[:, :4].all(dim=1)
        alone = bright[:, 5] & ~bright[:, :5].any(dim=1)
        wrong = (many | alone).to(x.dtype)
        return torch.stack([0.5 - wrong, wrong - 0.5], dim=1)

    x, y = torch.zeros(5, 6), torch.zeros(5, dtype=torch.long)
    start = torch.tensor([1.0, 1, 1, 1, 1, 0]).expand(5, 6)
    few, many = (
        run(Pointwise(queries=n, restarts=1), model, x, y, L0("inf"), start=start) for n in (7, 300)
    )
    assert few.size.tolist() == [4.0] * 5
    assert many.size.tolist() == [1.0] * 5


@pytest.mark.slow
def test_the_budget_is_spent_and_more_queries_are_never_worse():
    net = small_net()
    x, y = examples(5, net)
    few, many = (run(Pointwise(queries=n, draws=9), net, x, y, L2("inf")) for n in (120, 260))
    assert few.forwards.tolist() == [122] * 5
    assert many.forwards.tolist() == [262] * 5
    assert bool((many.size <= few.size).all())
    assert bool((many.size < few.size).any())
