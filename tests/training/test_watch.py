import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch

from holdfast.core.catalogue import Entry
from holdfast.core.errors import InputError
from holdfast.core.recipes import hyperparameters
from holdfast.runs import Metrics
from holdfast.training.distributed import World
from holdfast.training.events import Warned
from holdfast.training.monitors import MONITORS, Catastrophic, Reading
from holdfast.training.watch import Moment, Watch, named
from training.test_loop import run_at, stopping, trained
from training.tiny import network, recipe, weights

ALONE = World(0, 1, torch.device("cpu"))
SCENES: list[Any] = []


@hyperparameters
class Scripted:
    """Fires at its look of that number, and reports a figure of the batch."""

    every: Any = "epoch"
    fires: int = 0
    action: Literal["none", "stop", "rollback"] = "stop"

    def look(self, scene, past):
        SCENES.append(scene)
        count = past.get("count", 0) + 1
        seen = scene.x_adv if scene.x_adv is not None else scene.x
        figures = {
            "count": count,
            "sum": float(seen.sum()),
            "net": float(weights(scene.network)[0]),
        }
        fires = count == self.fires
        text = f"fired at step {scene.step}" if fires else None
        return Reading(figures, {"count": count}, text, self.action if fires else "none")


class Needy(Scripted):
    needs_validation: ClassVar[bool] = True


def watched(monitor, objective="fgsm-rs", **changes):
    training = {"epochs": 4, "monitors": (monitor,)} | changes.pop("training", {})
    return recipe(objective, training=training, **changes)


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    SCENES.clear()
    entry = Entry(name="scripted", target=f"{__name__}:Scripted", summary="fires when told")
    monkeypatch.setitem(MONITORS._entries, "scripted", entry)


def test_figures_are_recorded_by_monitor_and_epoch(tmp_path):
    run = run_at(tmp_path / "run")
    monitor = {"kind": "catastrophic", "drop": 1.0, "floor": 0.0}
    what = recipe("fgsm-rs", training={"epochs": 3, "monitors": [monitor]})
    result = trained(what, run=run)
    assert [epoch["catastrophic.collapsed"] for epoch in result.history] == [0.0, 0.0, 0.0]
    records = [each for each in Metrics.read(run.metrics_file) if each["event"] == "monitor"]
    assert [each["step"] for each in records] == [5, 10, 15]
    for record, epoch in zip(records, result.history, strict=True):
        assert record["catastrophic.pgd_accuracy"] == epoch["catastrophic.pgd_accuracy"]
    assert run.read_recipe()["training"]["monitors"][0]["kind"] == "catastrophic"


def test_monitors_change_nothing_of_the_weights():
    plain = trained(recipe("fgsm-rs", training={"epochs": 4}))
    looked = trained(watched(Scripted(every=2)))
    assert torch.equal(weights(plain.model), weights(looked.model))
    assert looked.ended is None


def test_they_look_as_often_as_said_at_the_latest_whole_batch():
    trained(watched(Scripted(every=3)))
    assert [scene.step for scene in SCENES] == [3, 6, 9, 12, 15, 18]
    SCENES.clear()
    trained(watched(Scripted()))
    assert [(scene.step, scene.epoch) for scene in SCENES] == [(5, 1), (10, 2), (15, 3), (20, 4)]
    for scene in SCENES:  # the last batch of an epoch holds 3 examples, the one before 5
        assert len(scene.x) == len(scene.y) == len(scene.keys) == 5
        assert (scene.x_adv - scene.x).abs().amax() <= 0.1 + 1e-6
        assert len(scene.training) == 23
        assert len(scene.validation) == 4


def test_stop_ends_training_and_the_choice_is_as_usual():
    events = []
    result = trained(watched(Scripted(fires=2)), on_event=events.append)
    assert len(result.history) == 2
    assert result.steps == 10
    assert result.ended == {"by": "scripted", "action": "stop", "epoch": 2, "step": 10}
    assert result.warnings[0] == "fired at step 10"
    assert [event.text for event in events if isinstance(event, Warned)] == ["fired at step 10"]
    assert result.selected_on == "validation"
    assert result.record()["ended"] == result.ended


def test_stop_between_epochs_closes_the_epoch():
    result = trained(watched(Scripted(every=7, fires=1), selection={"choose": "last"}))
    assert (result.steps, result.chosen_epoch) == (7, 2)
    assert "clean_accuracy" in result.history[-1]
    assert result.forwards == 2 * (23 + 2 * 5)


@pytest.mark.parametrize("average", [None, 0.7])
def test_rollback_brings_back_the_weights_of_the_look_before(average):
    training = {"average": average} if average else {}
    last = {"choose": "last"}
    what = watched(Scripted(fires=3, action="rollback"), training=training, selection=last)
    result = trained(what)
    shorter = watched(Scripted(fires=2, action="stop"), training=training, selection=last)
    assert torch.equal(weights(result.model), weights(trained(shorter).model))
    assert (result.ended["restored_epoch"], result.ended["restored_step"]) == (2, 10)
    assert (result.chosen_epoch, result.chosen_step) == (2, 10)
    assert len(result.history) == 3


def test_a_rollback_with_nothing_to_go_back_to_ends_as_it_is():
    result = trained(watched(Scripted(fires=1, action="rollback"), selection={"choose": "last"}))
    assert result.ended == {"by": "scripted", "action": "rollback", "epoch": 1, "step": 5}
    assert result.chosen_epoch == 1


@pytest.mark.parametrize("action", ["stop", "rollback"])
@pytest.mark.parametrize("at", [3, 4, 5, 9, 12])
def test_what_was_seen_survives_an_interruption(tmp_path, at, action):
    what = watched(Scripted(fires=3, action=action), data={"validation": 6, "augment": ["flip"]})
    options = {"log_every": 1}
    whole = trained(what, **options)
    run = run_at(tmp_path / "run")

    with pytest.raises(KeyboardInterrupt):
        trained(what, run=run, on_event=stopping(at, KeyboardInterrupt), **options)
    result = trained(what, run=run, resume=True, **options)
    assert torch.equal(weights(whole.model), weights(result.model))
    assert whole.history == result.history
    assert whole.ended == result.ended
    records = [each for each in Metrics.read(run.metrics_file) if each["event"] == "monitor"]
    assert [each["scripted.count"] for each in records] == [1, 2, 3]


def test_the_stop_of_a_process_is_that_of_all(monkeypatch):
    watch = Watch((Scripted(fires=1),), World(1, 2, torch.device("cpu")), validation=True)
    monkeypatch.setattr(World, "total", lambda self, values: values + 1)
    watch.batch = object()
    assert watch.look(Moment(5, 1, True, (network(),)), None) == ({}, [])
    assert SCENES == []
    assert watch.ended["action"] == "stop"


def test_monitors_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="stands twice"):
        named((Catastrophic(), Catastrophic(drop=0.3)))
    with pytest.raises(InputError, match="has no validation examples"):
        Watch((Needy(),), ALONE, validation=False)
    with pytest.raises(InputError, match=r"training\.monitors\[0\]"):
        recipe(training={"monitors": ["catastrophe"]})
    with pytest.raises(InputError, match="has no validation examples"):
        trained(recipe(training={"monitors": ["robust-overfitting"]}, data={"validation": 0}))


WORK = """
import os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from holdfast.training import train
from training.test_watch import Scripted, watched
from training.tiny import examples, network, weights
torch.distributed.init_process_group("gloo")
monitor = Scripted(every=3, fires=3, action="rollback")
what = watched(monitor, selection={"choose": "last"})
result = train(what, data=examples(29), model=network(), device="cpu")
facts = (weights(result.model), result.steps, result.ended["restored_step"])
torch.save(facts, f"{sys.argv[2]}/{os.environ['RANK']}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_roll_back_together(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(WORK)
    root = str(Path(__file__).parents[1])
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, script, root, tmp_path], capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    what = watched(Scripted(every=3, fires=3, action="rollback"), selection={"choose": "last"})
    one = trained(what, model=network())
    for rank in (0, 1):
        found, steps, restored = torch.load(tmp_path / f"{rank}.pt")
        assert (steps, restored) == (9, 6)
        assert torch.allclose(found, weights(one.model), atol=2e-5)
