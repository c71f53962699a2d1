import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from holdfast.core.errors import InputError, RunConflict
from holdfast.data import ImageData
from holdfast.models import load_model, weights_hash
from holdfast.runs import Metrics, Run
from holdfast.training import load_recipe, train
from holdfast.training.events import EpochDone, Started, StepDone
from training.tiny import examples, network, recipe, weights

TESTS = Path(__file__).parents[1]


def run_at(path):
    return Run.create("train", "tiny", "noise", path=path)


def trained(what=None, data=None, **options):
    data = data or examples(29)
    return train(what or recipe(), data=data, device="cpu", **options)


def test_a_recipe_becomes_a_model_that_learned_and_a_run_that_says_how(tmp_path):
    events, run = [], run_at(tmp_path / "run")
    what = recipe("fgsm-rs", training={"epochs": 12})
    result = trained(what, run=run, on_event=events.append, log_every=3)
    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert result.selected_on == "validation"
    assert result.steps == 12 * 5
    assert result.forwards == result.backwards == 2 * 23 * 12
    assert len(result.history) == 12
    assert not any(module.training for module in result.model.modules())
    assert isinstance(events[0], Started)
    assert (events[0].steps, events[0].examples, events[0].validation) == (60, 23, 6)
    assert events[0].forwards == result.forwards
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(3, 61, 3))
    assert len([event for event in events if isinstance(event, EpochDone)]) == 12
    records = Metrics.read(run.metrics_file)
    assert [r["step"] for r in records if r["event"] == "step"] == [e.step for e in steps]
    assert [r["epochs_done"] for r in records if r["event"] == "epoch"] == list(range(1, 13))
    saved, metadata = load_model(result.checkpoint)
    assert weights_hash(saved) == weights_hash(result.model)
    assert metadata.extra["epoch"] == result.chosen_epoch == result.best["epoch"]
    assert run.read_recipe()["objective"]["kind"] == "fgsm-rs"
    json.dumps(result.record())


def test_equal_recipes_give_equal_bits_and_seeds_differ():
    first, second = trained(), trained()
    assert torch.equal(weights(first.model), weights(second.model))
    assert first.history == second.history
    other = trained(replace(recipe(), seed=4))
    assert not torch.equal(weights(first.model), weights(other.model))


def test_the_callers_random_state_is_untouched_and_of_no_effect():
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        net = network(dropout=0.5)
        results.append(weights(trained(model=net).model))
    assert torch.equal(*results)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    trained()
    assert torch.equal(torch.get_rng_state(), before)


def test_a_model_of_the_callers_is_trained_in_place_and_keeps_its_modes():
    net = network(norm=True)
    net.eval()
    net[3].train()
    start = weights(net)
    result = trained(model=net)
    assert result.model is net
    assert not torch.equal(weights(net), start)
    assert [m.training for m in net] == [False, False, False, True, False, False]
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert result.batch_norm == "one process"


@pytest.mark.parametrize("objective", ["pgd-at", {"kind": "fgsm-rs", "attack_mode": "train"}])
def test_at_radius_zero_every_objective_is_ordinary_training_to_the_bit(objective):
    changes = {"threat": "linf:0", "selection": {"attack": "none"}}
    plain = trained(recipe("standard", **changes))
    robust = trained(recipe(objective, **changes))
    assert torch.equal(weights(plain.model), weights(robust.model))


def test_rates_and_radii_follow_their_schedules():
    events = []
    training = {
        "schedule": {"kind": "cyclic", "peak": 0.02, "at": 0.4},
        "radius_schedule": {"kind": "linear", "start": 0.0, "end": 1.0},
    }
    what = recipe("fgsm-rs", training=training)
    trained(what, on_event=events.append, log_every=1)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert len(steps) == 10
    for number, event in enumerate(steps, 1):
        assert event.learning_rate == what.training.schedule(number / 10)
        assert event.radius == pytest.approx(0.1 * number / 10)
    assert steps[-1].learning_rate == 0


def test_the_gradient_is_clipped():
    change = {}
    for name, clip in {"free": {}, "norm": {"clip": 1e-3}, "value": {"clip_value": 1e-4}}.items():
        net = network()
        start = weights(net)
        optimizer = {"kind": "sgd", "momentum": 0.0}
        training = {"optimizer": optimizer, "epochs": 1, "batch_size": 29} | clip
        training["schedule"] = {"kind": "constant", "value": 1.0}
        selection = {"choose": "last", "attack": "none"}
        trained(recipe(training=training, data={"validation": 0}, selection=selection), model=net)
        change[name] = weights(net) - start
    assert change["norm"].norm() == pytest.approx(1e-3, rel=1e-3)
    assert change["value"].abs().max() == pytest.approx(1e-4, rel=1e-3)
    assert change["free"].norm() > 0.01
    cosine = torch.cosine_similarity(change["free"], change["norm"], dim=0)
    assert cosine == pytest.approx(1.0, abs=1e-4)


def test_patience_ends_training_early():
    training = {"epochs": 9, "schedule": {"kind": "constant", "value": 0.0}}
    what = recipe(training=training, selection={"patience": 2})
    result = trained(what)
    assert len(result.history) == 3  # the first is the best, two without improvement
    assert result.chosen_epoch == 1


def test_the_choice_is_the_best_or_the_last():
    training = {"epochs": 8, "schedule": {"kind": "constant", "value": 0.05}}
    curves, models = {}, {}
    for choose in ("best", "last"):
        result = trained(recipe(training=training, selection={"choose": choose}))
        curves[choose] = [epoch["robust_accuracy"] for epoch in result.history]
        models[choose] = result
    assert curves["best"] == curves["last"]
    best = max(curves["best"])
    assert curves["best"][models["best"].chosen_epoch - 1] == best
    assert models["last"].chosen_epoch == 8
    assert models["last"].best == models["best"].best
    assert models["last"].selected_on == "nothing"


def test_validations_come_as_often_as_said_and_at_the_end():
    result = trained(recipe(training={"epochs": 5}, selection={"every": 3}))
    measured = [epoch["epoch"] for epoch in result.history if "clean_accuracy" in epoch]
    assert measured == [3, 5]


def test_without_validation_the_last_epoch_is_kept():
    result = trained(recipe(data={"validation": 0}))
    assert (result.best, result.final, result.selected_on) == (None, None, "nothing")
    assert result.chosen_epoch == 2
    assert result.forwards == 29 * 2


def test_held_out_examples_may_be_given():
    data = examples(29)
    held = examples(11, seed=5)
    events = []
    result = trained(data=data, validation=held, on_event=events.append)
    assert (events[0].examples, events[0].validation) == (29, 11)
    assert result.selected_on == "validation"


def test_a_choice_on_test_data_is_called_an_oracle(tmp_path):
    data = examples(29)
    np.savez(tmp_path / "noise.npz", x=data.images.numpy(), y=data.labels.numpy())
    named = {"name": str(tmp_path / "noise.npz")}
    what = recipe(data=named, selection={"on": "test", "attack": "none"})
    assert train(what, device="cpu").selected_on == "test (oracle)"
    with pytest.raises(InputError, match=r"selection\.on='test'"):
        trained(recipe(selection={"on": "test"}))


def test_the_average_of_the_weights_is_what_is_kept():
    plain = trained(recipe(selection={"choose": "last"}))
    averaged = trained(recipe(training={"average": 0.9}, selection={"choose": "last"}))
    assert not torch.equal(weights(plain.model), weights(averaged.model))
    same = trained(recipe(training={"average": 0.0}, selection={"choose": "last"}))
    assert torch.equal(weights(plain.model), weights(same.model))


def test_training_in_bf16_learns_and_is_validated_in_float32():
    what = recipe("fgsm-rs", training={"precision": "bf16", "epochs": 12})
    result = trained(what)
    assert result.history[-1]["loss"] < 0.7 * result.history[0]["loss"]
    assert {each.dtype for each in result.model.state_dict().values()} == {torch.float32}


def test_validations_and_monitors_never_run_in_lower_precision():
    seen, model = set(), network(norm=True)

    def note(module, inputs, output):
        seen.add((module.training, output.dtype))

    model[5].register_forward_hook(note)
    training = {"precision": "bf16", "average": 0.5, "monitors": ["catastrophic", "alignment"]}
    trained(recipe("fgsm-rs", training=training), model=model)
    assert seen == {(True, torch.bfloat16), (False, torch.float32)}


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match="fp16"):
        trained(recipe(training={"precision": "fp16"}))
    with pytest.raises(InputError, match="resume=True: has no run"):
        trained(resume=True)
    diverging = recipe(training={"schedule": {"kind": "constant", "value": 1e30}})
    with pytest.raises(InputError, match="lower the learning rate"):
        trained(diverging, log_every=1)


class Stop(Exception):
    """Stands for a kill: nothing is saved on the way out."""


def stopping(at, error):
    def listen(event):
        if isinstance(event, StepDone) and event.step == at:
            raise error

    return listen


EVERYTHING = {
    "objective": {"kind": "fgsm-rs", "start": "previous"},
    "training": {"epochs": 3, "average": 0.9, "clip": 1.0},
    "data": {"validation": 6, "augment": ["flip", {"kind": "pad-crop", "padding": 1}]},
}


@pytest.mark.parametrize(
    ("at", "error"), [(3, KeyboardInterrupt), (5, KeyboardInterrupt), (8, Stop), (14, Stop)]
)
def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, at, error):
    what = recipe(**EVERYTHING)
    options = {"log_every": 1, "checkpoint_seconds": 0.0 if at == 8 else 60.0}

    def model():
        return network(norm=True, dropout=0.3)

    whole_run, run = run_at(tmp_path / "whole"), run_at(tmp_path / "broken")
    whole = trained(what, model=model(), run=whole_run, **options)
    with pytest.raises(error):
        trained(what, model=model(), run=run, on_event=stopping(at, error), **options)
    net = model()
    with torch.no_grad():
        net[0].weight.add_(1)  # the checkpoint decides, not what is given
    events = []
    result = trained(what, model=net, run=run, resume=True, on_event=events.append, **options)
    assert torch.equal(weights(result.model), weights(whole.model))
    if error is KeyboardInterrupt:
        assert events[0].done == at
    assert result.history == whole.history

    def records(each):
        kept = Metrics.read(each.metrics_file)
        return [{k: v for k, v in r.items() if k != "seconds"} for r in kept]

    assert records(run) == records(whole_run)


def test_a_finished_run_is_read_again_without_training(tmp_path):
    run = run_at(tmp_path / "run")
    first = trained(run=run)
    events = []
    again = trained(run=run, resume=True, on_event=events.append)
    assert [type(event) for event in events] == [Started]
    assert torch.equal(weights(first.model), weights(again.model))
    assert again.record() | {"seconds": 0} == first.record() | {"seconds": 0}


def test_another_recipe_or_other_data_are_refused_by_name(tmp_path):
    run = run_at(tmp_path / "run")
    trained(run=run)
    with pytest.raises(RunConflict, match="holds a training already; continue it with --resume"):
        trained(run=run)
    with pytest.raises(RunConflict, match=r"batch_size=5 and is .*batch_size=6"):
        trained(recipe(training={"batch_size": 6}), run=run, resume=True)
    with pytest.raises(RunConflict, match="training_data"):
        trained(data=examples(29, seed=8), run=run, resume=True)
    evaluation = {"attacks": ["pgd-3-1"]}
    trained(recipe(evaluation=evaluation), run=run, resume=True)  # changes nothing of training


def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path):
    run = run_at(tmp_path / "run")
    trained(run=run)
    path = run.checkpoints / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"^checkpoint=") as caught:
        trained(run=run, resume=True)
    assert "\n" not in str(caught.value)


KILLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from holdfast.runs import Run
from holdfast.training import train
from holdfast.training.events import StepDone
from training.tiny import examples, recipe

def kill(event):
    if isinstance(event, StepDone) and event.step == 8:
        os.kill(os.getpid(), signal.SIGKILL)

run = Run.create("train", "tiny", "noise", path=sys.argv[2])
options = {"log_every": 1, "checkpoint_seconds": 0.0, "device": "cpu"}
train(recipe("fgsm-rs"), data=examples(29), run=run, on_event=kill, **options)
"""


@pytest.mark.slow
def test_killed_and_resumed_it_ends_in_the_same_weights(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, script, TESTS, run], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole, events = trained(recipe("fgsm-rs")), []
    resumed = trained(
        recipe("fgsm-rs"), run=Run.open(run), resume=True, on_event=events.append, log_every=1
    )
    assert events[0].done == 8
    assert weights_hash(resumed.model) == weights_hash(whole.model)
    assert resumed.history == whole.history


LONG = """
import sys
import torch
torch.set_num_threads(1)
from pathlib import Path
from holdfast.runs import Run
from holdfast.training import load_recipe, train

path = Path(sys.argv[1])
run = Run.open(path) if path.exists() else Run.create("train", "tiny", "digits", path=path)
recipe = load_recipe("digits-pgd", ["training.epochs=3", "model.options.width=4"])
print("ready", flush=True)
train(recipe, run=run, resume=True, device="cpu", log_every=1, checkpoint_seconds=0.01)
print("finished", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moments_on_digits_it_ends_in_the_same_weights(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(LONG)
    kills = 0
    for pause in (0.9, 1.7, 0.2, 1.1, None):
        command = [sys.executable, script, tmp_path / "run"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "ready\n"
            if pause is not None:
                time.sleep(pause)
                process.kill()
            finished = process.stdout.read() == "finished\n"
        kills += not finished
    assert finished
    assert kills >= 2
    whole = train(
        load_recipe("digits-pgd", ["training.epochs=3", "model.options.width=4"]), device="cpu"
    )
    saved, _ = load_model(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert weights_hash(saved) == weights_hash(whole.model)


def test_examples_of_any_kind_are_taken():
    data = examples(29)
    pair = (data.inputs(), data.labels)
    assert isinstance(data, ImageData)
    assert trained(data=pair).steps == trained(data=data).steps


def test_the_choice_may_be_made_on_training_points_between_epochs(tmp_path):
    run = run_at(tmp_path / "run")
    selection = {"on": "train", "every_steps": 2, "examples": 9, "attack": "pgd-3-1"}
    schedule = {"kind": "steps", "values": [0.05, 0.0, 0.0]}  # what comes later is no better
    training = {"epochs": 3, "schedule": schedule}
    what = recipe("fgsm-rs", training=training, selection=selection)
    events = []
    result = trained(what, run=run, on_event=events.append)
    assert result.selected_on == "train"
    assert events[0].examples == 29  # nothing is held out
    assert result.steps == 3 * 6
    records = Metrics.read(run.metrics_file)
    looks = [each for each in records if each["event"] == "validation"]
    assert [each["step"] for each in looks] == list(range(2, 18, 2))
    assert ["robust_accuracy" in epoch for epoch in result.history] == [False, False, True]
    everything = [each["robust_accuracy"] for each in (*looks, result.history[-1])]
    assert result.best["robust"] == max(everything)
    assert result.chosen_epoch == result.best["epoch"] <= 2
    assert looks[result.chosen_step // 2 - 1]["robust_accuracy"] == result.best["robust"]
    found = {**what.selection.__dict__, "every_steps": None, "choose": "last"}
    shorter = trained(replace(what, selection=replace(what.selection, **found)))
    assert shorter.selected_on == "nothing"


def test_a_choice_between_epochs_survives_an_interruption(tmp_path):
    selection = {"on": "train", "every_steps": 2, "examples": 9}
    what = recipe("fgsm-rs", training={"epochs": 3, "keep_every": 1}, selection=selection)
    whole = trained(what, run=run_at(tmp_path / "whole"), log_every=1)
    run = run_at(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trained(what, run=run, on_event=stopping(8, KeyboardInterrupt), log_every=1)
    result = trained(what, run=run, resume=True, log_every=1)
    assert torch.equal(weights(whole.model), weights(result.model))
    assert (whole.best, whole.history) == (result.best, result.history)


def test_phases_have_batches_and_rates_of_their_own():
    phases = [
        {"epochs": 2, "batch_size": 8, "rates": [[0, 0], [1, 0.4], [2, 0.04]]},
        {"epochs": 1, "batch_size": 4, "rates": [[0, 0.04], [1, 0.004]]},
    ]
    events = []
    optimizer = {"kind": "sgd", "weight_decay": 1e-4, "decay": "weights"}
    what = recipe(training={"epochs": 3, "phases": phases, "optimizer": optimizer})
    result = trained(what, on_event=events.append, log_every=1)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert len(steps) == result.steps == 3 + 3 + 6
    assert steps[2].learning_rate == 0.4
    assert steps[5].learning_rate == pytest.approx(0.04)
    assert steps[-1].learning_rate == pytest.approx(0.004)
    assert steps[6].learning_rate == pytest.approx(0.04 - 0.036 / 6)
    assert result.forwards == events[0].forwards == 23 * 3
    with pytest.raises(InputError, match="epochs=4: is not the 3 of its phases"):
        recipe(training={"epochs": 4, "phases": phases})


def test_one_phase_is_plain_training_to_the_bit():
    plain = trained(recipe("fgsm-rs"))
    phased = trained(recipe("fgsm-rs", training={"phases": [{"epochs": 2, "batch_size": 5}]}))
    assert torch.equal(weights(plain.model), weights(phased.model))


@pytest.mark.slow
def test_small_images_first_on_a_folder_of_images(tmp_path):
    from PIL import Image

    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, name in enumerate(("dark", "light")):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 100, (20, 24, 3), dtype=np.uint8) + 150 * label
                image = Image.fromarray(pixels.astype(np.uint8))
                image.save(tmp_path / split / name / f"{number}.png")
    phases = [
        {"epochs": 3, "batch_size": 8, "resize": 10, "crop": 8},
        {"epochs": 2, "batch_size": 4, "resize": 16, "crop": 12},
        {"epochs": 1, "batch_size": 3, "crop": 16},
    ]
    what = recipe(
        {"kind": "fgsm-rs"},
        threat="linf:2/255",
        model={"name": "resnet18", "options": {"width": 4}},
        data={"name": str(tmp_path), "validation": 4, "augment": ["flip"]},
        training={"epochs": 6, "phases": phases, "optimizer": "adam"},
    )
    result = train(what, device="cpu")
    assert result.steps == 3 * 3 + 2 * 5 + 7
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert result.history[-1]["accuracy"] > 0.7


def test_the_result_may_be_the_ensemble_of_periods(tmp_path):
    schedule = {"kind": "periodic", "schedule": {"kind": "linear", "start": 0.02, "end": 0.0}}
    training = {"epochs": 4, "schedule": schedule, "ensemble": "periods", "keep_every": 1}
    what = recipe("fgsm-rs", training=training)
    whole = trained(what, run=run_at(tmp_path / "whole"), log_every=1)
    assert whole.selected_on == "nothing"
    files = [tmp_path / "whole" / "checkpoints" / f"epoch-00{i}.safetensors" for i in (2, 3, 4)]
    for member, file in zip(whole.model.members, files, strict=True):
        assert torch.equal(weights(member), weights(load_model(file)[0]))
    run = run_at(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trained(what, run=run, on_event=stopping(13, KeyboardInterrupt), log_every=1)
    result = trained(what, run=run, resume=True, log_every=1)
    assert torch.equal(weights(whole.model), weights(result.model))
