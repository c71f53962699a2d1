"""The checks of an evaluation, with what they cost: which flags a model and an answer raise."""

import math
import time
from typing import Any

import torch
from torch import Tensor

from holdfast.attacks.apgd import APGD
from holdfast.benchmark import flags
from holdfast.benchmark.flags import Flag
from holdfast.benchmark.protocol import Protocol
from holdfast.core.frozen import FrozenModel
from holdfast.core.ledger import Ledger
from holdfast.core.random import Keys
from holdfast.core.results import Outcome
from holdfast.data.images import ImageData
from holdfast.threats.protocol import Threat

_CURVE = 32
_FACTORS = (0.5, 1.0, 2.0)


class Checks:
    """What is looked at beside the examples' own outcomes.

    Attributes:
        found: the flags so far.
        sanity: radii and accuracies of a short attack, or None.
        report: the cost, as that of a stage.
    """

    def __init__(self, frozen: FrozenModel, data: ImageData, threat: Threat, seed: int):
        self.frozen, self.data, self.threat, self.seed = frozen, data, threat, seed
        self.found: list[Flag] = []
        self.sanity: dict[str, Any] | None = None
        self.report: dict[str, Any] = {
            "stage": "checks",
            "examples": 0,
            "forwards": 0,
            "backwards": 0,
            "seconds": 0.0,
        }

    def of_model(self, ledger: Ledger, protocol: Protocol) -> None:
        """Looks at the model on a first block of examples, and at the attack's curve."""
        passes, began = self.frozen.passes, time.perf_counter()
        before = passes.forwards, passes.backwards
        block = self.frozen.block or 1
        rows = torch.arange(block) % len(self.data)
        x = self.data.inputs(rows).to(self.frozen.device)
        y = self.data.labels[rows].to(self.frozen.device)
        count = min(block, len(self.data))
        self.report["examples"] = count
        logits = self.frozen.logits(x)
        random = flags.randomised(self.frozen, x, y) if protocol.name != "rand" else None
        found = [random, flags.neighbours(self.frozen, x), flags.probabilities(logits)]
        found.append(flags.dynamic(self.frozen, x))
        self.found += [flag for flag in found if flag is not None]
        if flags.supports_gradients(self.threat) and _finite(self.threat):
            keys = Keys.of(self.seed, self.data.index[rows].to(x.device))
            threat = self.threat.rows(rows)
            some = flags.gradients(self.frozen, x, y, self.data.index[rows], threat, keys)
            self.found += [_first(flag, count) for flag in some]
        self.report["forwards"] = passes.forwards - before[0]
        self.report["backwards"] = passes.backwards - before[1]
        if flags.supports_gradients(self.threat):
            self._curve(ledger)
        self.report["seconds"] = time.perf_counter() - began

    def of_steps(self, steps: list[dict[str, Any]], classes: int, notes: dict[str, Any]) -> None:
        """Looks at what the protocol's steps found.

        Args:
            steps: rows of the result's `attacks`.
        """
        names = [row["name"] for row in steps]
        flag = flags.classes(classes, names)
        self.found += [flag] if flag else []
        for at, row in enumerate(steps):
            before = [each["robust_accuracy"] for each in steps[:at] if each["backwards"]]
            if row["name"].partition("-")[0] == "square" and before:
                leap = flags.square(min(before), row["robust_accuracy"])
                self.found += [leap] if leap else []
        if "pilot" in notes:
            flag = flags.masked(notes["pilot"]["tried"], notes["pilot"]["fell"])
            self.found += [flag] if flag else []

    def _curve(self, ledger: Ledger) -> None:
        """A short attack at several radii, the last of which allows any input."""
        radius, box = self.threat.radius, self.threat.box
        standing = (ledger.outcome != Outcome.MISCLASSIFIED) & (ledger.prediction >= 0)
        at = standing.nonzero().flatten()[:_CURVE]
        bad = isinstance(radius, Tensor) or not radius or not math.isfinite(radius)
        if bad or box is None or not len(at) or self.threat.p not in (1.0, 2.0, math.inf):
            return
        far = _far(self.threat, self.data.images[0].numel())
        radii = sorted({min(factor * float(radius), far) for factor in _FACTORS} | {far})
        x = self.data.inputs(at).to(self.frozen.device)
        y = self.data.labels[at].to(self.frozen.device)
        keys = Keys.of(self.seed, self.data.index[at].to(x.device)).fold("sanity")
        margins, robust = [float(ledger.margin[at].mean())], [1.0]
        block = min(_CURVE, self.frozen.block or _CURVE)
        model = FrozenModel(self.frozen.model, block=block, device=self.frozen.device)
        model.passes = self.frozen.passes
        for each in radii:
            found = APGD(steps=10).run(model, x, y, self.threat.at(each), keys=keys)
            self.report["forwards"] += int(found.forwards.sum())
            self.report["backwards"] += int(found.backwards.sum())
            margins.append(float(found.margin.clamp_min(0.0).mean()))
            robust.append(float((~found.success).float().mean()))
        radii = [0.0, *radii]
        self.sanity = {"radii": radii, "robust": robust, "margins": margins, "examples": len(at)}
        flag = flags.radius(radii, margins, robust)
        self.found += [flag] if flag else []


def _far(threat: Threat, features: int) -> float:
    """A radius that allows any input of the box, from any other."""
    assert threat.box is not None
    width = threat.box[1] - threat.box[0]
    return width if threat.p == math.inf else width * features ** (1 / threat.p)


def _finite(threat: Threat) -> bool:
    return isinstance(threat.radius, Tensor) or math.isfinite(threat.radius)


def _first(flag: Flag, count: int) -> Flag:
    """The flag without the examples that only fill the block."""
    examples = tuple(dict.fromkeys(flag.examples))[:count]
    return Flag(flag.code, flag.severity, flag.evidence, flag.advice, examples)
