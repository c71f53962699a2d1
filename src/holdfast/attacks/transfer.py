"""Transfer: adversarial inputs made on another network, judged by the one under attack.

    x_adv = attack(surrogate, x),   success where the target model errs at x_adv.

Source: Szegedy et al. 2014, arXiv:1312.6199 (examples transfer); Papernot et al. 2017,
    arXiv:1602.02697 (attacks on a surrogate).
Departures: gradient attacks that look for any success take all steps of one run and hand over their
    last iterate, as one that stops where it has barely fooled the surrogate transfers badly;
    others, and all with `targets`, hand over their result.
"""

import hashlib
from typing import Annotated

from torch import Tensor, nn

from holdfast.attacks.attack import Attack
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.pgd import PGD
from holdfast.core.frozen import FrozenModel, Model
from holdfast.core.recipes import From, hyperparameters
from holdfast.models.weights import weights_hash
from holdfast.threats.protocol import Threat


class Surrogate:
    """A network that compares, hashes and prints by its content, to stand in a record.

    Two modules are equal where their structure, as they print it, and their weights are; other
    callables where they are the same object. The weights are read once, when this is made.

    Args:
        model: inputs (B, *E) to logits (B, K).

    Example:
        >>> import torch
        >>> one, two = torch.nn.ReLU(), torch.nn.ReLU()
        >>> Surrogate(one) == Surrogate(two), Surrogate(one) == Surrogate(torch.nn.Tanh())
        (True, False)
    """

    def __init__(self, model: Model):
        self.model = model
        name = getattr(model, "__qualname__", type(model).__name__)
        self._identity: object = model
        if isinstance(model, nn.Module):
            text = f"{model!r}\0{weights_hash(model)}"
            self._identity = hashlib.sha256(text.encode()).hexdigest()
            name = f"{name}:{self._identity[:12]}"
        self._name = name

    def __call__(self, x: Tensor) -> Tensor:
        """The network's logits."""
        return self.model(x)

    def __repr__(self) -> str:
        return self._name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Surrogate) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


@hyperparameters
class Transfer(LockstepAttack):
    """Any attack, carried out on a surrogate and judged on the target.

    Args:
        surrogate: inputs (B, *E) to logits (B, K), of the same classes as the target.
        attack: what is run on the surrogate, in the same threat.

    Guarantee: the target answers three questions at most; success is re-checked on it.
    Cost: per example 3 forwards of the target; passes of the surrogate are not in the result.
    Needs: of the target, decisions; of the surrogate, what the attack needs.
    Source: Papernot et al. 2017, arXiv:1602.02697.

    Example:
        >>> import torch
        >>> from holdfast.threats import Linf
        >>> model, other = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
        >>> x, y = torch.full((2, 4), 0.5), torch.tensor([0, 1])
        >>> attack = Transfer(surrogate=other, attack=PGD(steps=3, restarts=1))
        >>> int(attack.run(model, x, y, Linf(0.1)).forwards.max()) <= 3
        True
    """

    surrogate: Model
    attack: Annotated[Attack, From(ATTACKS)] = PGD(restarts=1)

    def __post_init__(self) -> None:
        if not isinstance(self.surrogate, Surrogate):
            object.__setattr__(self, "surrogate", Surrogate(self.surrogate))

    def check(self, threat: Threat) -> None:
        """Refuses what the attack refuses."""
        check = getattr(self.attack, "check", None)
        if check is not None:
            check(threat)

    def walk(self, oracle: Oracle) -> None:
        """Makes one input for each open row, and asks about it."""
        assert isinstance(self.surrogate, Surrogate)
        with FrozenModel(self.surrogate.model, block=len(oracle.x)) as frozen:
            points = self._made(frozen, oracle)
        oracle.ask(oracle.threat.project(points.to(oracle.x), oracle.x))

    def _made(self, frozen: FrozenModel, oracle: Oracle) -> Tensor:
        """The attack's inputs, (b, *E); x where the row is done."""
        dtype = next((each.dtype for each in _parameters(frozen.model)), oracle.x.dtype)
        x, y = oracle.x.to(frozen.device, dtype), oracle.y.to(frozen.device)
        keys = oracle.keys.to(frozen.device)
        start, targets = (
            None if each is None else each.to(frozen.device)
            for each in (oracle.start, oracle.targets)
        )
        perturb = getattr(self.attack, "perturb", None)
        if targets is None and perturb is not None and not getattr(self.attack, "smallest", False):
            points: Tensor = perturb(frozen, x, y, oracle.threat, keys=keys, start=start)
            return points
        rows = oracle.open.nonzero().flatten()
        threat, there = oracle.threat.rows(rows), rows.to(frozen.device)
        start, targets = (None if each is None else each[there] for each in (start, targets))
        found = self.attack.run(
            frozen, x[there], y[there], threat, keys=keys[there], start=start, targets=targets
        )
        points = x.clone()
        points[there] = found.x_adv
        return points


def _parameters(model: Model) -> list[nn.Parameter]:
    """A module's parameters, none of other callables."""
    return list(model.parameters()) if isinstance(model, nn.Module) else []
