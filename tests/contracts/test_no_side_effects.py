"""After every attack, bound and evaluation, also after an exception, the model is as it was."""

import pytest
import torch
from torch import nn

from holdfast.attacks import ATTACKS, PGD
from holdfast.benchmark.evaluate import evaluate
from holdfast.certify.bounds.interval import Interval
from holdfast.certify.spec import margin_rows
from holdfast.core.errors import MissingExtra
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.data.adapt import as_data
from holdfast.threats import Linf
from nets import examples
from small_attacks import SMALL, home


class Delicate(nn.Module):
    """Everything that a careless tool disturbs: mixed modes, frozen and free weights, statistics,
    gradients in place, hooks. Fails on demand."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()
        )
        self.head = nn.Linear(3 * 5 * 4, 5)
        self.fail_at = -1
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls == self.fail_at:
            raise ZeroDivisionError("planned")
        return self.head(self.body(x))


def delicate():
    torch.manual_seed(0)
    model = Delicate()
    model.train()
    model.body[1].eval()
    model.head.weight.requires_grad_(False)
    model.body[0].weight.grad = torch.full_like(model.body[0].weight, 7.0)
    model.register_forward_hook(lambda *_: None)
    return model


def state(model):
    """Everything that must not change, as comparable values."""
    return {
        "modes": [m.training for m in model.modules()],
        "flags": [p.requires_grad for p in model.parameters()],
        "identity": [id(p) for p in (*model.parameters(), *model.buffers())],
        "values": [t.clone() for t in model.state_dict().values()],
        "grads": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "dtypes": [t.dtype for t in model.state_dict().values()],
        "random": torch.get_rng_state(),
        "threads": torch.get_num_threads(),
    }


def equal(one, other):
    for name, values in one.items():
        if isinstance(values, torch.Tensor):
            assert torch.equal(values, other[name]), name
        elif isinstance(values, list):
            for a, b in zip(values, other[name], strict=True):
                same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
                assert same, name
        else:
            assert values == other[name], name


def attack_with(attack, threat):
    def use(model, x, y):
        frozen = FrozenModel(model, block=4)
        try:
            attack.run(frozen, x, y, threat, keys=Keys.of(0, range(len(x))))
        except MissingExtra as missing:
            pytest.skip(str(missing))

    return use


def certify(model, x, y):
    Interval().bound(model, x, Linf(0.01), margin_rows(y, 5))


def whole(model, x, y):
    evaluate(model, as_data((x, y)), Linf(0.02), attacks="fgsm,pgd-3-2", radii=[0.01], block=4)


def training_step(mode):
    def use(model, x, y):
        with FrozenModel(model, mode=mode) as frozen:
            PGD(steps=2, restarts=1).perturb(frozen, x, y, Linf(0.1), keys=Keys.of(0, range(6)))

    return use


USES = {name: attack_with(SMALL[name](), home(name)) for name in ATTACKS}
USES |= {"certify": certify, "evaluate": whole, "perturb eval": training_step("eval")}


@pytest.mark.parametrize("use", list(USES))
def test_model_is_left_as_found(use):
    model = delicate()
    x, y = examples(6, model.eval())
    model = delicate()
    before = state(model)
    USES[use](model, x, y)
    equal(before, state(model))


@pytest.mark.parametrize("use", list(USES))
def test_model_is_left_as_found_after_an_exception(use):
    model = delicate()
    x, y = examples(6, model.eval())
    for fail_at in (1, 2, 4):
        model = delicate()
        model.fail_at = fail_at
        before = state(model)
        failed = False
        try:
            USES[use](model, x, y)
        except Exception:
            failed = True
        assert failed or use in ("certify", "evaluate") or model.calls < fail_at
        equal(before, state(model))


def test_batch_statistics_without_update():
    model = delicate().train()
    x = torch.rand(6, 2, 7, 6)
    kept = state(model)
    training_step("batch")(model, x, torch.zeros(6, dtype=torch.int64))
    # Dropout in training mode draws from torch's own generator: that alone may move.
    kept.pop("random")
    after = state(model)
    after.pop("random")
    equal(kept, after)


def test_training_mode_updates_the_statistics():
    model = delicate().train()
    kept = model.body[1].running_mean.clone()
    training_step("train")(model, torch.rand(6, 2, 7, 6), torch.zeros(6, dtype=torch.int64))
    assert not torch.equal(kept, model.body[1].running_mean)
