import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models import build_model, load_model
from holdfast.models.store import read_weights
from holdfast.training.keeping import Keeper
from holdfast.training.selection import Validation
from training.tiny import recipe, weights

PERIODIC = {"kind": "periodic", "schedule": {"kind": "linear", "start": 1, "end": 0}}


def net(seed=0):
    return build_model("mlp", seed=seed, input_shape=(2, 5, 4), classes=3, hidden=(6,))


def keeper(folder=None, *, recorded=True, **training):
    what = recipe(training=training)
    return Keeper(what, net(), folder, steps=8, recorded=recorded)


def test_the_chosen_weights_are_a_copy_and_written(tmp_path):
    network, keep = net(), keeper(tmp_path)
    keep.choose(network, 3, Validation(0.9, 0.5), step=7)
    before = weights(network)
    with torch.no_grad():
        network[1].weight.add_(1)
    copied = net(7)
    copied.load_state_dict(keep.chosen)
    assert torch.equal(weights(copied), before)
    saved, metadata = load_model(tmp_path / "best.safetensors")
    assert torch.equal(weights(saved), before)
    assert metadata.extra["robust"] == 0.5
    assert (keep.epoch, keep.step) == (3, 7)


def test_epochs_are_kept_as_often_as_said(tmp_path):
    keep = keeper(tmp_path, keep_every=2)
    for epoch in range(5):
        keep.end_epoch(net(epoch), epoch, None)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"epoch-00{epoch}.safetensors" for epoch in (0, 2, 4)]
    saved, metadata = load_model(tmp_path / "epoch-002.safetensors")
    assert torch.equal(weights(saved), weights(net(2)))
    assert metadata.extra["epoch"] == 2
    with pytest.raises(InputError, match="has no run"):
        keeper(recorded=False, keep_every=2)


def test_an_ensemble_is_that_of_the_ends_of_periods(tmp_path):
    keep = keeper(tmp_path, ensemble="periods", radius_schedule=PERIODIC)
    assert keep.ensemble(net()) is None
    for done in range(1, 9):
        keep.end_step(net(done), done)
    made = keep.ensemble(net())
    assert len(made.members) == 3
    for member, step in zip(made.members, (4, 6, 8), strict=True):
        assert torch.equal(weights(member), weights(net(step)))
    saved, metadata = read_weights(tmp_path / "best.safetensors")
    assert (metadata.architecture.name, metadata.architecture.options["members"]) == ("ensemble", 3)
    assert all(torch.equal(saved[key], value) for key, value in made.state_dict().items())


def test_periods_are_those_of_one_schedule():
    assert keeper(ensemble=(0.25, 1.0)).snapshots.steps == (2, 8)
    assert keeper().snapshots is None
    with pytest.raises(InputError, match="finds no periods"):
        keeper(ensemble="periods")
    other = PERIODIC | {"at": [0.5]}
    with pytest.raises(InputError, match="two kinds of periods"):
        keeper(ensemble="periods", radius_schedule=PERIODIC, schedule=other)
