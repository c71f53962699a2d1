import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models.ensemble import Ensemble
from holdfast.schedules import Constant, Cosine, Cyclic, Held, Periodic, Piecewise, Warmup
from holdfast.schedules.published import PERIODS, periodic
from holdfast.training.checkpoints import Snapshot, load, save
from holdfast.training.snapshots import Snapshots, period_ends, snapshot_steps
from training.tiny import examples, network

ENDS = (*PERIODS, 1.0)


def test_the_ends_of_periods_are_read_from_the_schedule():
    rate, radius = periodic()
    assert period_ends(rate) == period_ends(radius) == ENDS
    assert period_ends(Warmup(schedule=Held(schedule=rate, parts=200))) == ENDS
    assert period_ends(Cyclic(peak=1)) == period_ends(Constant(value=1)) == (1.0,)


@pytest.mark.parametrize("per_epoch", [1, 7, 391])
def test_periods_of_200_epochs_end_after_epochs_100_150_and_200(per_epoch):
    expected = tuple(epoch * per_epoch for epoch in (100, 150, 200))
    assert snapshot_steps(ENDS, 200 * per_epoch) == expected


@pytest.mark.parametrize("steps", [9, 10, 391 * 3])
def test_the_step_that_is_kept_is_the_last_one_before_the_restart(steps):
    schedule = Periodic(schedule=Piecewise(value=1, at=(0.01,)), at=(1 / 3, 0.8))
    for end in snapshot_steps(period_ends(schedule), steps)[:-1]:
        assert schedule(end / steps) == pytest.approx(0.1)  # of the old period
        assert Periodic(schedule=Cosine(value=1), at=(1 / 3, 0.8))((end + 1) / steps) >= 0.5


@pytest.mark.parametrize("ends", [(), (0.1, 0.2), (0.5, 0.5), (0.5, 1.5)])
def test_impossible_ends_are_refused(ends):
    with pytest.raises(InputError, match="snapshots"):
        snapshot_steps(ends, 7)


def trained():
    net, snapshots = network(norm=True), Snapshots(ENDS, 8)
    taken = []
    for done in range(1, 9):
        with torch.no_grad():
            net[0].weight.add_(0.1)
            net[1].running_mean.add_(1)
        taken.append(snapshots.offer(done, net))
    return net, snapshots, taken


def test_weights_are_kept_as_they_were():
    net, snapshots, taken = trained()
    assert [done for done, kept in enumerate(taken, start=1) if kept] == [4, 6, 8]
    start = network(norm=True)
    for done, state in snapshots.kept.items():
        assert torch.allclose(state["0.weight"], start[0].weight + 0.1 * done)
        assert torch.equal(state["1.running_mean"], torch.full((4,), float(done)))
    assert torch.equal(snapshots.kept[8]["0.weight"], net[0].weight)


def test_the_ensemble_is_that_of_the_kept_networks():
    net, snapshots, _ = trained()
    made, x = snapshots.ensemble(net), examples(5).inputs()
    assert isinstance(made, Ensemble)
    answers = []
    for state in snapshots.kept.values():
        each = network(norm=True).eval()
        each.load_state_dict(state)
        answers.append(each(x).softmax(1))
    assert torch.allclose(made(x).exp(), torch.stack(answers).mean(0), atol=1e-6)
    last = snapshots.ensemble(net, last=2)
    assert torch.allclose(last(x).exp(), torch.stack(answers[1:]).mean(0), atol=1e-6)
    assert net.training
    with pytest.raises(InputError, match="not reached"):
        Snapshots(ENDS, 8).ensemble(net)


def test_they_go_through_a_checkpoint(tmp_path):
    _, snapshots, _ = trained()
    save(tmp_path / "last.safetensors", Snapshot({"snapshots": snapshots.tensors}))
    again = Snapshots(ENDS, 8)
    again.restore(load(tmp_path / "last.safetensors").tensors["snapshots"])
    assert list(again.kept) == list(snapshots.kept)
    for done, state in snapshots.kept.items():
        assert all(torch.equal(again.kept[done][name], each) for name, each in state.items())
