from dataclasses import replace

import torch
from torch.nn.functional import cross_entropy

from holdfast.threats import L2, Linf
from holdfast.training.loop import train
from holdfast.training.objectives.free import Free
from training.tiny import examples, network, recipe


def step(model, objective, x, y, threat, state):
    """One replay without the weight step: result and next state."""
    model.zero_grad()
    result = objective.loss(model, x, y, threat, progress=0.5, state=state)
    result.loss.backward()
    return result, result.finish()


def test_weights_step_at_the_perturbation_before_its_own_step():
    model, data, threat = network(), examples(6), Linf(0.1)
    x, y = data.inputs(), data.labels
    _, state = step(model, Free(), x, y, threat, None)
    result, after = step(model, Free(), x, y, threat, state)
    gradient = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    point = (x + state["previous"]).requires_grad_(True)
    cross_entropy(model(point), y).backward()
    assert torch.equal(result.x_adv, point)
    assert all(map(torch.equal, gradient, [each.grad for each in model.parameters()]))
    expected = (point + 0.1 * point.grad.sign() - x).clamp(-0.1, 0.1) + x
    assert torch.allclose(x + after["previous"], expected.clamp(0, 1), atol=1e-6)


def test_the_perturbation_goes_on_to_the_next_batch_and_stays_in_the_threat():
    data = examples(9)
    for threat in (Linf(0.1), L2(0.3)):
        model, state = network(), None
        for rows in (slice(0, 4), slice(4, 8), slice(8, 9)):
            x, y = data.inputs()[rows], data.labels[rows]
            result, state = step(model, Free(), x, y, threat, state)
            assert threat.contains(result.x_adv, x).all()
        assert len(state["previous"]) == 4  # the smaller last batch left the other slots alone


def test_every_replay_is_one_pass_and_one_weight_step():
    data, steps = examples(13), []
    result = train(
        recipe({"kind": "free", "replays": 3}, training={"epochs": 2}),
        data=data,
        model=network(),
        device="cpu",
        on_event=steps.append,
    )
    batches = -(-7 // 5)  # 13 examples, 6 of them held out, batches of 5
    assert result.steps == 2 * 3 * batches
    assert (result.forwards, result.backwards) == (2 * 3 * 7, 2 * 3 * 7)


def test_one_replay_with_radius_zero_is_ordinary_training():
    data, ends = examples(13), []
    for objective in ("standard", {"kind": "free", "replays": 1}):
        model = network()
        train(recipe(objective, threat="linf:0"), data=data, model=model, device="cpu")
        ends.append([each.clone() for each in model.parameters()])
    assert all(map(torch.equal, *ends))


TRAIL = []


class Followed(Free):
    """Notes the perturbations with which every showing begins and ends."""

    def loss(self, model, x, y, threat, *, state=None, **options):
        result = super().loss(model, x, y, threat, state=state, **options)

        def finish():
            after = result.finish()
            TRAIL.append((state, result.x_adv - x, after["previous"]))
            return after

        return replace(result, finish=finish)


def test_the_perturbation_is_never_reset_between_batches_and_epochs():
    TRAIL.clear()
    what = replace(recipe("free", training={"epochs": 3}), objective=Followed(replays=2))
    train(what, data=examples(13), model=network(), device="cpu")
    begins, moved, ends = zip(*TRAIL, strict=True)
    assert [len(each) for each in moved] == [5, 5, 2, 2] * 3  # replays of both batches of an epoch
    assert begins[0] is None
    assert not moved[0].any()
    for state, delta, before in zip(begins[1:], moved[1:], ends, strict=False):
        assert torch.equal(state["previous"], before)
        assert len(before) == 5
        assert delta.any()
        inside = (delta.abs() <= before[: len(delta)].abs() + 1e-6).all()
        assert inside  # another image's box may clip it
    assert torch.allclose(moved[1], ends[0], atol=1e-7)
