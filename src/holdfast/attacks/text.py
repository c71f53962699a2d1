"""Attacks by name: any of the catalogue (`fgsm`, `apgd-ce`), with a budget (`square-1000`), and the
forms `pgd-STEPS-RESTARTS[-STEP]` and `apgd-t-TARGETS-STEPS`."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from holdfast.attacks.apgd import APGD, apgd_t
from holdfast.attacks.attack import Attack, parse_step
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.pgd import PGD
from holdfast.core.errors import InputError, unknown_name

_FORM = "write pgd-STEPS-RESTARTS or pgd-STEPS-RESTARTS-STEP, such as pgd-50-10 or pgd-50-10-0.01"
_TARGETED = "write apgd-t-TARGETS-STEPS, such as apgd-t-3-20"
_BUDGETS = ("queries", "steps", "samples")


def parse(text: str) -> Attack:
    """The attack that a name stands for.

    A name of the catalogue is the attack with its published settings; `NAME-N` gives it N steps, or
    N queries or draws where it counts those. `pgd-S-R[-STEP]` is PGD with S steps and R restarts;
    STEP is in input units or relative (`eps/4`), by default 2.5 eps / S. `apgd-t-T-S` is APGD on
    the targeted DLR loss, towards the T likeliest wrong classes, with S steps each.

    Raises:
        InputError: an unknown name (with the nearest known one) or a malformed number.

    Example:
        >>> parse("pgd-20-2-0.01").steps
        20
        >>> parse("apgd-ce-50").steps
        50
    """
    if text in ATTACKS:
        return ATTACKS[text].load()()
    if text.startswith("apgd-t-"):
        return _apgd_t(text)
    if text.startswith("pgd-"):
        return _pgd(text, text.removeprefix("pgd-"))
    name, _, count = text.rpartition("-")
    if name not in ATTACKS:
        raise unknown_name("attack", text, [*ATTACKS, "pgd-50-10"])
    attack = ATTACKS[name].load()()
    budget = _budget(attack)
    if budget is None or not count.isdecimal() or int(count) < 1:
        remedy = f"write {name}-N with a whole number from 1" if budget else f"write {name}"
        raise InputError("attack", text, "is no attack", remedy)
    return replace(attack, **{budget: int(count)})


def name_of(attack: object) -> str:
    """The name of an attack, where it has one; else its repr.

    Example:
        >>> name_of(PGD(steps=7, restarts=1, step_size=0.01))
        'pgd-7-1-0.01'
    """
    if isinstance(attack, PGD):
        step = "" if attack.step_size == "auto" else f"-{attack.step_size}"
        plain = PGD(steps=attack.steps, restarts=attack.restarts, step_size=attack.step_size)
        return f"pgd-{attack.steps}-{attack.restarts}{step}" if attack == plain else repr(attack)
    kind: Any = type(attack)
    for name, known in _published(kind):
        budget = _budget(known)
        if attack == known:
            return name
        if budget and attack == replace(known, **{budget: getattr(attack, budget)}):
            return f"{name}-{getattr(attack, budget)}"
    if isinstance(attack, APGD) and attack == apgd_t(attack.steps, attack.most_targets):
        return f"apgd-t-{attack.most_targets}-{attack.steps}"
    return repr(attack)


def as_attacks(attacks: str | Attack | Iterable[str | Attack]) -> dict[str, Attack]:
    """Attacks by name, in order, from a comma-separated text, an attack or several of either."""
    if isinstance(attacks, str):
        attacks = [part.strip() for part in attacks.split(",") if part.strip()]
    elif isinstance(attacks, Attack):
        attacks = [attacks]
    named: dict[str, Attack] = {}
    for attack in attacks:
        if isinstance(attack, str):
            attack = parse(attack)
        elif not isinstance(attack, Attack):
            raise InputError("attacks", attack, "is no attack", "give names or objects with run()")
        named[name_of(attack)] = attack
    return named


@cache
def _published(kind: type) -> list[tuple[str, Any]]:
    """The attacks of the catalogue of one class, with their names."""
    made = ((name, ATTACKS[name].load()) for name in ATTACKS)
    found = [
        (name, build()) for name, build in made if build is kind or not isinstance(build, type)
    ]
    return [(name, attack) for name, attack in found if type(attack) is kind]


def _budget(attack: Any) -> str | None:
    """The field that `NAME-N` sets."""
    names = {field.name for field in fields(attack)} if is_dataclass(attack) else set()
    return next((name for name in _BUDGETS if name in names), None)


def _apgd_t(text: str) -> APGD:
    targets, _, steps = text.removeprefix("apgd-t-").partition("-")
    if not (targets.isdecimal() and steps.isdecimal() and int(targets) and int(steps)):
        raise InputError("attack", text, "is no APGD-T", _TARGETED)
    return apgd_t(int(steps), int(targets))


def _pgd(text: str, rest: str) -> PGD:
    steps, _, more = rest.partition("-")
    restarts, _, step = more.partition("-")
    try:
        counts = int(steps), int(restarts or 1)
    except ValueError:
        raise InputError("attack", text, "is no PGD", _FORM) from None
    if min(counts) < 1:
        raise InputError("attack", text, "has a count below 1", _FORM)
    size: float | str = step or "auto"
    if step:
        factor, relative = parse_step(step, counts[0])
        size = step if relative else factor
    return PGD(steps=counts[0], restarts=counts[1], step_size=size)
