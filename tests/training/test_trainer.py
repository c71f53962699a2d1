from dataclasses import replace

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.data import Augment
from holdfast.threats import Linf
from holdfast.training.batches import Batches
from holdfast.training.course import Stretch
from holdfast.training.distributed import World
from holdfast.training.events import StepDone
from holdfast.training.interrupts import Interrupts
from holdfast.training.objectives import Standard
from holdfast.training.trainer import Parts, Trainer
from training.tiny import examples, network, recipe, weights

ALONE = World(0, 1, torch.device("cpu"))


def trainer(what, net, listener=None):
    data = examples(23)
    spec = what.training
    batches = Batches(data, spec.batch_size, seed=3, augment=Augment(), world=ALONE)
    return Trainer(
        Parts(
            recipe=what,
            network=net.train(),
            threat=Linf(0.1),
            stretches=[Stretch(spec.epochs, batches)],
            validator=None,
            world=ALONE,
            chance=1 / 3,
            folder=None,
            metrics=None,
            listener=listener,
            log_every=1,
            checkpoint_seconds=60.0,
        )
    )


def run(what, net, listener=None):
    made = trainer(what, net, listener)
    with torch.random.fork_rng(), Interrupts() as interrupts:
        made.run(interrupts)
    return made


def test_the_steps_are_those_of_torch_written_out():
    optimizer = {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.01}
    what = recipe(training={"optimizer": optimizer})
    ours, theirs = network(), network()
    made = run(what, ours)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    for step in range(10):
        batch = made.course.batch(made.course.at(step))
        reference.zero_grad()
        torch.nn.functional.cross_entropy(theirs(batch.x), batch.y).backward()
        reference.step()
    assert torch.equal(weights(ours), weights(theirs))
    assert made.done == made.steps == 10
    assert made.course.shown(made.done) == 46


def test_the_figures_are_means_over_examples():
    events = []
    made = run(recipe(training={"epochs": 1}), network(), events.append)
    steps = [event for event in events if isinstance(event, StepDone)]
    sizes = [5, 5, 5, 5, 3]
    mean = sum(n * event.logs["loss"] for n, event in zip(sizes, steps, strict=True)) / 23
    assert made.history[0]["loss"] == pytest.approx(mean)
    assert [event.step for event in steps] == [1, 2, 3, 4, 5]
    assert steps[-1].left == 0


def test_what_the_network_draws_is_a_function_of_the_step():
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(run(recipe(), network(dropout=0.5)).network)
    assert torch.equal(*map(weights, nets))
    silent = run(recipe(), network(dropout=0.0)).network
    assert not torch.equal(weights(silent), weights(nets[0]))


def test_the_average_is_what_is_kept():
    made = run(recipe(training={"average": 0.9}), network())
    assert made.kept is made.average.network
    assert made.average.updates == 10
    assert all(torch.equal(v, made.keeper.chosen[k]) for k, v in made.kept.state_dict().items())
    assert run(recipe(), network()).average is None


class Loud(Standard):
    """Logs a figure under a name of the loop's."""

    def loss(self, *args, **options):
        result = super().loss(*args, **options)
        return replace(result, logs=result.logs | {"radius": result.loss.detach()})


def test_names_of_the_loop_are_not_for_objectives():
    with pytest.raises(InputError, match="logs 'radius', which is the loop's own"):
        run(replace(recipe(), objective=Loud()), network())
