import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.toys.planted import (
    CLASSES,
    KINDS,
    SHAPES,
    Planting,
    planted_net,
    train_planted,
)

QUICK = Planting(radius=0.08, steps=60)


@pytest.fixture(scope="module")
def world():
    return train_planted("mlp", seed=1, planted=3, twins=2, planting=QUICK)


def margins(model, points, labels):
    with torch.no_grad():
        logits = model(points)
    own = logits.gather(1, labels[:, None])
    return (own - logits + torch.nn.functional.one_hot(labels, CLASSES) * 1e9).amin(dim=1)


def test_the_network_errs_at_planted_points_and_not_at_the_inputs(world):
    torch.testing.assert_close(
        world.margins, margins(world.model, world.counterexamples, world.y), atol=1e-6, rtol=0
    )
    assert (world.margins < -QUICK.margin / 2 + 1e-9).all()
    assert (margins(world.model, world.x, world.y) > 0).all()
    assert (margins(world.model, world.twins, world.twin_labels) > 0).all()
    assert (world.targets != world.y).all()


def test_planted_points_lie_in_the_far_part_of_their_balls(world):
    move = (world.counterexamples - world.x).abs()
    assert (world.distances == move.amax(dim=1)).all()
    assert (move >= 0.979 * QUICK.radius).all()
    assert (move <= QUICK.radius).all()
    for points in (world.x, world.twins):
        assert (points >= QUICK.radius).all()
        assert (points <= 1 - QUICK.radius).all()


def test_balls_do_not_meet(world):
    points = torch.cat([world.x, world.twins])
    apart = torch.cdist(points, points, p=math.inf) + torch.eye(5)
    assert (apart > 2 * QUICK.radius).all()


def test_random_points_of_the_balls_are_right(world):
    generator = torch.Generator().manual_seed(0)
    for x, label in zip(world.x, world.y, strict=True):
        noise = 2 * torch.rand(500, 6, generator=generator, dtype=torch.float64) - 1
        found = margins(world.model, x + QUICK.radius * noise, label.expand(500))
        assert (found > 0).double().mean() > 0.98


@pytest.mark.slow
def test_the_same_seed_gives_the_same_world(world):
    torch.manual_seed(3)
    state = torch.get_rng_state()
    again = train_planted("mlp", seed=1, planted=3, twins=2, planting=QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(again.counterexamples, world.counterexamples)
    torch.testing.assert_close(again.margins, world.margins)
    other = train_planted("mlp", seed=2, planted=3, twins=2, planting=QUICK)
    assert not torch.equal(other.x, world.x)


def test_the_model_is_frozen_in_eval_mode(world):
    assert not world.model.training
    assert not any(parameter.requires_grad for parameter in world.model.parameters())
    assert all(each.dtype == torch.float64 for each in world.model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_maps_its_inputs_to_logits(kind):
    net, again = planted_net(kind, 4), planted_net(kind, 4)
    x = torch.rand(3, *SHAPES[kind], dtype=torch.float64)
    assert net(x).shape == (3, CLASSES)
    assert torch.equal(net(x), again(x))
    assert not torch.equal(net(x), planted_net(kind, 5)(x))
    torch.testing.assert_close(net(x[1:2]), net(x)[1:2])


def test_training_without_steps_leaves_the_beginning():
    world = train_planted("pooled", planted=2, twins=1, planting=Planting(steps=1, rate=1e-12))
    assert world.steps <= 1
    assert world.counterexamples.shape == (2, 1, 8, 6)
    assert (world.margins < 0).all()


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"kind": "rnn"}, "kind"), ({"planted": 0}, "planted"), ({"planted": 99}, "planted")],
)
def test_bad_input_is_named(changed, named):
    with pytest.raises(InputError, match=named):
        train_planted(**{"kind": "mlp", "planted": 2, **changed})
