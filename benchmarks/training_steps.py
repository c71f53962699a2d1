"""What a training step costs: PGD-10 and FGSM-RS on PreActResNet-18 of width 16, against loops.

Contenders, in CPU seconds of one thread, alternating in one run, median of the rounds; ratios are
taken round by round, so that a machine whose speed drifts does not shift them:

- plain: a float32 loop as the published code writes it (autograd through weights and input, batch
  statistics in the attack, everything contiguous);
- peer: the loop of the trainers that attack through torchattacks (evaluation mode in the attack);
- hand: bf16, channels-last, weights detached during the attack, on one screen;
- ours: a step of `holdfast.training` with `precision = "bf16"`, `channels_last = true`: batch,
  augmentation apart, attack, loss, backward, weight step.

Batch norm in the attack is as published (`train`) or in evaluation mode (`eval`).

Run: `python benchmarks/training_steps.py [--rounds 7] [--only hand ours] [--out FILE]`
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from operator import truediv
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from holdfast.core.recipes import build
from holdfast.data.augment import Augment
from holdfast.data.images import ImageData
from holdfast.models.registry import build_model
from holdfast.runs.environment import environment
from holdfast.threats import Linf
from holdfast.training.batches import Batches
from holdfast.training.course import Stretch
from holdfast.training.distributed import World
from holdfast.training.recipe import Recipe
from holdfast.training.trainer import Parts, Trainer

EPS, BATCH, RATE = 8 / 255, 128, 0.1
STEPS = {"pgd-10": (10, 2 / 255), "fgsm-rs": (1, 10 / 255)}
OBJECTIVES = {
    "pgd-10": {
        "kind": "pgd-at",
        "attack": {"kind": "pgd", "steps": 10, "restarts": 1, "step_size": 2 / 255},
    },
    "fgsm-rs": {"kind": "fgsm-rs", "step_size": 10 / 255},
}
Step = Callable[[], None]


def network(width: int) -> nn.Module:
    """A fresh network with fixed weights, in training mode."""
    return build_model("preact_resnet18", seed=0, width=width).train()


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The published one."""
    return torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=5e-4)


def plain(x: Tensor, y: Tensor, kind: str, mode: str, width: int) -> Step:
    """The published loop: gradients of the weights are computed in the attack too."""
    model = network(width)
    steps, length = STEPS[kind]
    opt = optimizer(model)

    def step() -> None:
        delta = torch.zeros_like(x).uniform_(-EPS, EPS)
        delta = torch.max(torch.min(1 - x, delta), 0 - x)
        model.train(mode == "train")
        for _ in range(steps):
            delta.requires_grad_(True)
            loss = cross_entropy(model(x + delta), y)
            loss.backward()
            grad = delta.grad.detach()
            delta = torch.clamp(delta.detach() + length * torch.sign(grad), -EPS, EPS)
            delta = torch.max(torch.min(1 - x, delta), 0 - x)
        model.train()
        loss = cross_entropy(model(torch.clamp(x + delta, 0, 1)), y)
        opt.zero_grad()
        loss.backward()
        opt.step()

    return step


def peer(x: Tensor, y: Tensor, kind: str, mode: str, width: int) -> Step:
    """A trainer that calls an attack library, which switches to evaluation mode for itself."""
    import torchattacks

    model = network(width)
    steps, length = STEPS[kind]
    if kind == "fgsm-rs":
        attack = torchattacks.FFGSM(model, eps=EPS, alpha=length)
    else:
        attack = torchattacks.PGD(model, eps=EPS, alpha=length, steps=steps, random_start=True)
    opt = optimizer(model)

    def step() -> None:
        x_adv = attack(x, y)
        model.train()
        loss = cross_entropy(model(x_adv), y)
        opt.zero_grad()
        loss.backward()
        opt.step()

    return step


def hand(x: Tensor, y: Tensor, kind: str, mode: str, width: int) -> Step:
    """The fast loop, by hand."""
    model = network(width).to(memory_format=torch.channels_last)
    x = x.contiguous(memory_format=torch.channels_last)
    steps, length = STEPS[kind]
    opt = optimizer(model)

    def step() -> None:
        low, high = (x - EPS).clamp_(0, 1), (x + EPS).clamp_(0, 1)
        x_adv = torch.empty_like(x).uniform_(-EPS, EPS).add_(x).clamp_(0, 1)
        model.train(mode == "train").requires_grad_(False)
        for _ in range(steps):
            x_adv.requires_grad_(True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(x_adv)
            loss = cross_entropy(logits.float(), y, reduction="sum")
            (grad,) = torch.autograd.grad(loss, x_adv)
            x_adv = x_adv.detach().add_(grad.sign_(), alpha=length)
            x_adv = torch.clamp(x_adv, low, high)
        model.train().requires_grad_(True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(x_adv)
        opt.zero_grad()
        cross_entropy(logits.float(), y).backward()
        opt.step()

    return step


def ours(x: Tensor, y: Tensor, kind: str, mode: str, width: int) -> Step:
    """Steps of the library's loop, on data in memory."""
    training = {
        "epochs": 1000,
        "batch_size": BATCH,
        "optimizer": {"kind": "sgd", "momentum": 0.9, "weight_decay": 5e-4},
        "schedule": {"kind": "constant", "value": RATE},
        "precision": "bf16",
        "channels_last": True,
    }
    values = {
        "threat": "linf:8/255",
        "objective": OBJECTIVES[kind] | {"attack_mode": mode},
        "training": training,
    }
    recipe = build(Recipe, values)
    world = World(0, 1, torch.device("cpu"))
    levels = (x * 255).round().to(torch.uint8)
    data = ImageData(
        images=levels,
        labels=y,
        index=torch.arange(len(x)),
        classes=10,
        names=tuple(map(str, range(10))),
        name="noise",
        split="train",
    )
    batches = Batches(data, BATCH, seed=0, augment=Augment(), world=world, channels_last=True)
    trainer = Trainer(
        Parts(
            recipe=recipe,
            network=network(width).to(memory_format=torch.channels_last),
            threat=Linf(EPS),
            stretches=[Stretch(1000, batches)],
            validator=None,
            world=world,
            chance=0.1,
            folder=None,
            metrics=None,
            listener=None,
            log_every=10**9,
            checkpoint_seconds=1e9,
        )
    )
    return trainer._step


CONTENDERS = {"plain": plain, "peer": peer, "hand": hand, "ours": ours}


def measured(
    kind: str, mode: str, width: int, rounds: int, only: list[str] | None = None
) -> dict[str, list[float]]:
    """CPU milliseconds of a step in every round, per contender; of those named alone, where some
    are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (BATCH,), generator=generator)
    steps: dict[str, Step] = {}
    for name in dict.fromkeys((*only, "ours")) if only else CONTENDERS:
        contender = CONTENDERS[name]
        try:
            steps[name] = contender(x, y, kind, mode, width)
        except ImportError:
            print(f"{name}: not installed (make bench-env)")
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):
        for name in list(steps)[:: -1 if number % 2 else 1]:
            begin = time.process_time()
            steps[name]()
            if number:  # the first warms up
                times[name].append(1000 * (time.process_time() - begin))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, help="such as: hand ours")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for kind in STEPS:
        for mode in ("train", "eval"):
            times = measured(kind, mode, options.width, options.rounds, options.only)
            found = {name: statistics.median(each) for name, each in times.items()}
            ratios = {
                name: statistics.median(map(truediv, each, times["ours"]))
                for name, each in times.items()
            }
            rows.append({"step": kind, "attack_mode": mode, "cpu_ms": found, "over_ours": ratios})
            shown = ", ".join(f"{name} {found[name]:.0f} ({ratios[name]:.2f})" for name in found)
            print(f"{kind}, attack in {mode} mode: {shown}")
    result = {"width": options.width, "batch": BATCH, "rows": rows, "machine": environment()}
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
