"""The objectives of the catalogue with attacks of two steps and without warm-up, and what a step of
training does with one, for the batteries in `tests/contracts`."""

from dataclasses import MISSING, fields, replace

import pytest
import torch

from holdfast.attacks import PGD
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.data.augment import Augment
from holdfast.threats import Linf
from holdfast.training.memory import Memory
from holdfast.training.objectives import OBJECTIVES, PGDAT
from holdfast.training.visit import Visit
from training.tiny import examples

THREAT = Linf(0.1)
NAMES = list(OBJECTIVES)
HEAVY = {"interval"}  # every first loss captures the network
_SHORT = PGD(steps=2, restarts=1, step_size="eps/2")
_AT = PGDAT(attack=_SHORT)
_BRIEF = {"steps": 2, "warmup": 0, "burn_in": 0, "objective": _AT, "then": _AT, "replays": 3}
_BRIEF |= {"rounds": 2, "inner": 2}
_OWN = {
    "atas": {"step_size": "eps"},
    "atta": {"step_size": "eps/2"},
    "adaptive-targets": {"step_size": "eps/2", "reweight": "clean"},
    "corner-pgd": {"attack": PGD(steps=2, restarts=1, step_size="eps/2", start="clean")},
    "fgsm-dropout": {"objective": MISSING},
    "penalised": {"l1": 0.01, "l2": 0.1},
}


def small(name, **changes):
    """The objective of this name, at the price of a few passes.

    Whatever has `steps`, an `attack` of many, or a warm-up is shortened without being listed here.
    """
    kind = OBJECTIVES[name].load()
    options = {}
    for field in fields(kind):
        if field.name in _BRIEF:
            options[field.name] = _BRIEF[field.name]
        elif field.name == "attack" and getattr(field.default, "steps", 1) > 2:
            options["attack"] = replace(field.default, steps=2)
    options |= _OWN.get(name, {}) | changes
    return kind(**{key: value for key, value in options.items() if value is not MISSING})


def visit(count, *, places=None, memory=None, epoch=1, replay=0):
    """A showing of examples without augmentation, in the second of seven epochs."""
    places = torch.arange(count) if places is None else torch.as_tensor(places)
    return Visit(
        places=places,
        count=count,
        epoch=epoch,
        epochs=7,
        memory=memory or Memory(count, torch.device("cpu")),
        augment=Augment(steps=()),
        params=(),
        batch_size=len(places),
        replay=replay,
    )


def ask(objective, model, x, y, threat=THREAT, **options):
    """The loss of one showing; keys and places are those of the rows, unless they are given."""
    options.setdefault("keys", Keys.of(4, torch.arange(len(x))))
    options.setdefault("visit", visit(len(x)))
    options.setdefault("progress", 0.6)
    return objective.loss(model, x, y, threat, **options)


def step(objective, model, x, y, threat=THREAT, **options):
    """Every replay of a batch, backward passes and `finish` included, as the loop does it, but no
    weight step; the results."""
    count, memory = len(x), Memory(len(x), torch.device("cpu"))
    state, results = options.pop("state", None), []
    for replay in range(getattr(objective, "replays", 1)):
        shown = visit(count, memory=memory, replay=replay)
        result = ask(objective, model, x, y, threat, state=state, visit=shown, **options)
        result.loss.backward()
        if result.finish is not None:
            result = replace(result, state=result.finish(), finish=None)
        state = result.state
        results.append(result)
    return results


def batch(count=5, classes=3):
    """Images and labels."""
    data = examples(count, classes)
    return data.inputs(), data.labels


def finite(*tensors):
    """Whether no entry is infinite or no number."""
    return all(bool(each.detach().isfinite().all()) for each in tensors)


def refusal_of(ask):
    """What came of a call, or None and the text of its refusal."""
    try:
        return ask(), ""
    except InputError as refused:
        return None, f"{refused}" * bool(refused.remedy)


def over(names):
    """Rows of a test, one for each objective."""
    slow = {name: [pytest.mark.slow] for name in HEAVY}
    return pytest.mark.parametrize("name", [pytest.param(n, marks=slow.get(n, [])) for n in names])


each_name = over(NAMES)
