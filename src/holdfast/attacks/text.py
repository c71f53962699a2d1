"""Attacks by name: `fgsm`, `fgsm-rs`, `r-fgsm`, `pgd-50-10`, `pgd-50-10-0.01`, `pgd-20-1-eps/4`."""

from collections.abc import Iterable

from holdfast.attacks.attack import Attack, parse_step
from holdfast.attacks.catalogue import ATTACKS
from holdfast.attacks.fgsm import FGSM, fgsm_rs, r_fgsm
from holdfast.attacks.pgd import PGD
from holdfast.core.errors import InputError, unknown_name

_FORM = "write pgd-STEPS-RESTARTS or pgd-STEPS-RESTARTS-STEP, such as pgd-50-10 or pgd-50-10-0.01"


def parse(text: str) -> Attack:
    """The attack that a name stands for.

    `pgd-S-R[-STEP]` is PGD with S steps, R restarts, a uniform start in every restart and
    cross-entropy; STEP is in input units or relative (`eps/4`), by default 2.5 eps / S.

    Raises:
        InputError: an unknown name (with the nearest known one) or a malformed PGD.

    Example:
        >>> parse("pgd-20-2-0.01").steps
        20
    """
    if text == "fgsm":
        return FGSM()
    if text == "fgsm-rs":
        return fgsm_rs()
    if text == "r-fgsm":
        return r_fgsm()
    head, _, rest = text.partition("-")
    if head != "pgd":
        raise unknown_name("attack", text, [*ATTACKS, "pgd-50-10"])
    return _pgd(text, rest) if rest else PGD()


def name_of(attack: object) -> str:
    """The name of an attack, where it has one; else its repr.

    Example:
        >>> name_of(PGD(steps=7, restarts=1, step_size=0.01))
        'pgd-7-1-0.01'
    """
    known = {FGSM(): "fgsm", fgsm_rs(): "fgsm-rs", r_fgsm(): "r-fgsm"}
    if isinstance(attack, FGSM) and attack in known:
        return known[attack]
    if isinstance(attack, PGD):
        step = "" if attack.step_size == "auto" else f"-{attack.step_size}"
        plain = PGD(steps=attack.steps, restarts=attack.restarts, step_size=attack.step_size)
        if attack == plain:
            return f"pgd-{attack.steps}-{attack.restarts}{step}"
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
