"""No attack weaker than its peer: every attack beside those of other libraries, at equal budgets.

On the first images of four networks that are classified correctly, for each attack that
torchattacks, Foolbox, adv-lib or the reference AutoAttack has as well, with equal steps; attacks on
decisions get as many queries per image as the peer took, counted in the network.

Radius given: which images each breaks, re-checked here (misclassified, inside ball and box).
    holds where   only_peer - only_ours <= 2 sqrt(only_peer + only_ours)
Smallest perturbation: medians over all images, a failure counting as infinite, so that an attack
gains nothing by failing on hard images; over those that both break where both medians are infinite.
    holds where   ours <= 1.01 peer,   and successes hold as above
It holds "by pairs" where the median does not, but the peer's is not smaller by more than 1 % on
more images, counted as successes are: the sizes of DDN are products of 1.05 and 0.95, so that one
image of 200 can move the median by 5 %.

A re-check forgives a lead of the label up to 1e-5 of the largest logit: minimum-norm points lie on
the boundary, and rounding depends on how images are batched. A black image, which Foolbox hands
back where it found nothing, is no success.

Peers: torchattacks and Foolbox, where installed (`make bench-env`); checkouts `adversarial-library`
and `auto-attack` in the folder that BENCH_PEERS names.

Run: `python benchmarks/strength.py [--attacks NAME,...] [--models NAME,...] [--limit 60]
    [--scale 1] [--merge [FILE ...]] [--out FILE]`
"""

import argparse
import contextlib
import importlib.util
import io
import json
import math
import os
import sys
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy
import torch
from torch import Tensor, nn

from holdfast.attacks.apgd import APGD, apgd_ce, apgd_dlr, apgd_t
from holdfast.attacks.attack import Attack
from holdfast.attacks.boundary import Boundary
from holdfast.attacks.carlini_wagner import CarliniWagner
from holdfast.attacks.ddn import DDN
from holdfast.attacks.deepfool import DeepFool
from holdfast.attacks.elastic_net import EAD
from holdfast.attacks.fab import FAB, fab_t
from holdfast.attacks.fgsm import FGSM
from holdfast.attacks.fmn import FMN
from holdfast.attacks.goal import goal
from holdfast.attacks.hop_skip_jump import HopSkipJump
from holdfast.attacks.jsma import JSMA
from holdfast.attacks.one_pixel import OnePixel
from holdfast.attacks.pgd import PGD
from holdfast.attacks.pointwise import Pointwise
from holdfast.attacks.salt_and_pepper import SaltAndPepper
from holdfast.attacks.spatial import SpatialGrid
from holdfast.attacks.spsa import SPSA
from holdfast.attacks.square import Square
from holdfast.core.frozen import FrozenModel
from holdfast.core.random import Keys
from holdfast.core.results import AttackResult
from holdfast.core.tensors import norm
from holdfast.threats import L1, L2, Linf
from holdfast.threats.l0 import L0
from holdfast.threats.spatial import Spatial
from protocols import PAIRS, Counted, Subject, machine, say, subject, with_peers

Row = dict[str, Any]
Runs = dict[int, tuple[AttackResult, float]]
MODELS = ("standard-0.1", "fgsm-0.3", "dual-0.15", "digits-pgd")
BALLS: dict[float, Any] = {0: L0, 1: L1, 2: L2, math.inf: Linf}
NORMS = {2: "L2", math.inf: "Linf"}
INF = math.inf


@dataclass(frozen=True)
class Case:
    """What a peer is given.

    Args:
        net: logits, counted.
        x: correctly classified images.
        y: their labels.
        eps: radius, inf for the smallest perturbation.
        p: norm.
        n: steps, iterations or queries.
    """

    net: Counted
    x: Tensor
    y: Tensor
    eps: float
    p: float
    n: int


Peer = Callable[[Case], Tensor]


@dataclass(frozen=True)
class Duel:
    """An attack and its peers.

    Args:
        p: norm; nan for the spatial threat.
        n: budget, at `--scale 1`.
        ours: the attack with such a budget, at a radius.
        peers: by label.
        smallest: whether the perturbation is to be small, at no radius.
        eps: a radius other than the model's.
        matched: whether ours gets the queries that the peer took.
        shift: whether the class aimed at is the next one.
    """

    p: float
    n: int
    ours: Callable[[int], Attack]
    peers: dict[str, Peer]
    smallest: bool = False
    eps: float | None = None
    matched: bool = False
    shift: bool = False


def ta(name: str, give: Callable[[Case], Row]) -> Peer:
    """An attack of torchattacks."""

    def run(of: Case) -> Tensor:
        import torchattacks

        found: Tensor = getattr(torchattacks, name)(of.net, **give(of))(of.x, of.y)
        return found

    return run


def fb(name: str, give: Callable[[Case], Row]) -> Peer:
    """An attack of Foolbox."""

    def run(of: Case) -> Tensor:
        import foolbox

        model = foolbox.PyTorchModel(of.net, bounds=(0, 1), device="cpu")
        attack = getattr(foolbox.attacks, name)(**give(of))
        if name == "SpatialAttack":
            return attack(model, of.x, of.y)[0]
        return attack(model, of.x, of.y, epsilons=of.eps if math.isfinite(of.eps) else None)[1]

    return run


def al(name: str, give: Callable[[Case], Row]) -> Peer:
    """An attack of adv-lib."""

    def run(of: Case) -> Tensor:
        with stubs("visdom", "tqdm", "torchvision", "torchvision.models"):
            import adv_lib.attacks

        found: Tensor = getattr(adv_lib.attacks, name)(of.net, of.x.clone(), of.y, **give(of))
        return found

    return run


def aa(name: str, kind: str, give: Callable[[Case], Row]) -> Peer:
    """A component of the reference AutoAttack."""

    def run(of: Case) -> Tensor:
        module = __import__(f"autoattack.{name}", fromlist=[kind])
        given = {"norm": NORMS[of.p], "eps": of.eps, "seed": 0, "device": "cpu", **give(of)}
        found: Tensor = getattr(module, kind)(of.net, **given).perturb(of.x.clone(), of.y.clone())
        return found

    return run


@contextlib.contextmanager
def stubs(*names: str) -> Iterator[None]:
    """Empty modules, for the time of an import, for what a peer names and does not need here."""
    absent = [name for name in names if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in absent:
        sys.modules[name] = Stub(name)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


class Stub(types.ModuleType):
    """A module in which any public name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("_"):
            raise AttributeError(name)
        return type(name, (), {})


def _radius(of: Case) -> Row:
    return {"norm": NORMS[of.p], "eps": of.eps}


def _ours_pgd(n: int) -> Attack:
    return PGD(steps=n, restarts=1, step_size="eps/10")


def _momentum(n: int) -> Attack:
    return PGD(steps=n, restarts=1, step_size="eps/10", start="clean", momentum=0.9)


def _with(attack: APGD) -> Callable[[int], Attack]:
    return lambda n: replace(attack, steps=n)


def _fmn(p: float) -> Duel:
    title = {0: "L0", 1: "L1", 2: "L2", INF: "LInf"}[p]
    peers = {
        "foolbox": fb(f"{title}FMNAttack", lambda of: {"steps": of.n}),
        "adv-lib": al("fmn", lambda of: {"norm": of.p, "steps": of.n}),
    }
    return Duel(p, 100, lambda n: FMN(steps=n), peers, smallest=True)


def _apgd(p: float, loss: str) -> Duel:
    ours = apgd_ce() if loss == "ce" else apgd_dlr()
    peers = {
        "torchattacks": ta("APGD", lambda of: {**_radius(of), "steps": of.n, "loss": loss}),
        "adv-lib": al(
            "apgd",
            lambda of: {"eps": of.eps, "norm": of.p, "n_iter": of.n, "loss_function": loss},
        ),
        "AutoAttack": aa(
            "autopgd_base",
            "APGDAttack",
            lambda of: {"n_iter": of.n, "n_restarts": 1, "loss": loss},
        ),
    }
    return Duel(p, 100, _with(ours), peers)


def _apgd_t(p: float) -> Duel:
    peers = {
        "torchattacks": ta("APGDT", lambda of: {**_radius(of), "steps": of.n, "n_classes": 10}),
        "adv-lib": al(
            "apgd_targeted",
            lambda of: {"eps": of.eps, "norm": of.p, "n_iter": of.n, "num_targets": 9},
        ),
        "AutoAttack": aa(
            "autopgd_base", "APGDAttack_targeted", lambda of: {"n_iter": of.n, "n_restarts": 1}
        ),
    }
    return Duel(p, 100, lambda n: apgd_t(n, 9), peers)


def _fab_t(p: float) -> Duel:
    peers = {
        "torchattacks": ta(
            "FAB",
            lambda of: {**_radius(of), "steps": of.n, "multi_targeted": True, "n_classes": 10},
        ),
        "AutoAttack": aa(
            "fab_pt", "FABAttack_PT", lambda of: {"n_iter": of.n, "n_restarts": 1, "targeted": True}
        ),
    }
    return Duel(p, 100, lambda n: fab_t(n, 9), peers)


def _fab(p: float, targeted: bool) -> Duel:
    peers = {
        "adv-lib": al(
            "fab",
            lambda of: {"norm": of.p, "n_iter": of.n, "targeted_restarts": targeted},
        )
    }
    return Duel(p, 100, fab_t if targeted else lambda n: FAB(steps=n), peers, smallest=True)


def _square(p: float) -> Duel:
    peers = {
        "torchattacks": ta("Square", lambda of: {**_radius(of), "n_queries": of.n}),
        "AutoAttack": aa(
            "square", "SquareAttack", lambda of: {"n_queries": of.n, "p_init": 0.8, "n_restarts": 1}
        ),
    }
    return Duel(p, 1000, lambda n: Square(queries=n), peers)


def _deepfool(p: float) -> Duel:
    peers = {
        "foolbox": fb(
            "L2DeepFoolAttack" if p == 2 else "LinfDeepFoolAttack", lambda of: {"steps": of.n}
        ),
        "adv-lib": al("df", lambda of: {"steps": of.n, "norm": of.p}),
    }
    if p == 2:
        peers["torchattacks"] = ta("DeepFool", lambda of: {"steps": of.n})
    return Duel(p, 50, lambda n: DeepFool(steps=n), peers, smallest=True)


def _hop_skip_jump(p: float) -> Duel:
    constraint = "l2" if p == 2 else "linf"
    peers = {
        "foolbox": fb("HopSkipJumpAttack", lambda of: {"steps": of.n, "constraint": constraint})
    }
    return Duel(p, 10, lambda n: HopSkipJump(queries=n), peers, smallest=True, matched=True)


def _spsa(rate: Callable[[Case], float]) -> Peer:
    return ta("SPSA", lambda of: {"eps": of.eps, "nb_iter": of.n, "nb_sample": 32, "lr": rate(of)})


DUELS: dict[str, Duel] = {
    "fgsm": Duel(
        INF,
        1,
        lambda n: FGSM(),
        {
            "torchattacks": ta("FGSM", lambda of: {"eps": of.eps}),
            "foolbox": fb("LinfFastGradientAttack", lambda of: {}),
        },
    ),
    "pgd-linf": Duel(
        INF,
        50,
        _ours_pgd,
        {
            "torchattacks": ta(
                "PGD", lambda of: {"eps": of.eps, "alpha": of.eps / 10, "steps": of.n}
            ),
            "foolbox": fb("LinfPGD", lambda of: {"rel_stepsize": 0.1, "steps": of.n}),
            "adv-lib": al(
                "pgd_linf", lambda of: {"ε": of.eps, "relative_step_size": 0.1, "steps": of.n}
            ),
        },
    ),
    "pgd-l2": Duel(
        2,
        50,
        _ours_pgd,
        {
            "torchattacks": ta(
                "PGDL2", lambda of: {"eps": of.eps, "alpha": of.eps / 10, "steps": of.n}
            ),
            "foolbox": fb("L2PGD", lambda of: {"rel_stepsize": 0.1, "steps": of.n}),
        },
    ),
    "mi-fgsm": Duel(
        INF,
        20,
        _momentum,
        {
            "torchattacks": ta(
                "MIFGSM",
                lambda of: {"eps": of.eps, "alpha": of.eps / 10, "steps": of.n, "decay": 0.9},
            ),
            "foolbox": fb(
                "LinfMomentumIterativeFastGradientMethod",
                lambda of: {"rel_stepsize": 0.1, "steps": of.n, "momentum": 0.9},
            ),
        },
    ),
    "apgd-ce-linf": _apgd(INF, "ce"),
    "apgd-ce-l2": _apgd(2, "ce"),
    "apgd-dlr-linf": _apgd(INF, "dlr"),
    "apgd-dlr-l2": _apgd(2, "dlr"),
    "apgd-t-linf": _apgd_t(INF),
    "apgd-t-l2": _apgd_t(2),
    "fab-t-linf": _fab_t(INF),
    "fab-t-l2": _fab_t(2),
    "fab-t-smallest-linf": _fab(INF, targeted=True),
    "fab-t-smallest-l2": _fab(2, targeted=True),
    "fab-smallest-l2": _fab(2, targeted=False),
    "square-linf": _square(INF),
    "square-l2": _square(2),
    "deepfool-l2": _deepfool(2),
    "deepfool-linf": _deepfool(INF),
    "cw-l2": Duel(
        2,
        200,
        lambda n: CarliniWagner(binary_steps=5, iterations=n),
        {
            "foolbox": fb(
                "L2CarliniWagnerAttack", lambda of: {"binary_search_steps": 5, "steps": of.n}
            ),
            "adv-lib": al(
                "carlini_wagner_l2",
                lambda of: {"binary_search_steps": 5, "max_iterations": of.n},
            ),
            "torchattacks (one constant)": ta("CW", lambda of: {"steps": 5 * of.n}),
        },
        smallest=True,
    ),
    "ead": Duel(
        1,
        200,
        lambda n: EAD(binary_steps=5, iterations=n),
        {
            "foolbox": fb(
                "EADAttack",
                lambda of: {
                    "binary_search_steps": 5,
                    "steps": of.n,
                    "decision_rule": "L1",
                    "regularization": 1e-3,
                },
            ),
            "torchattacks": ta(
                "EADL1", lambda of: {"binary_search_steps": 5, "max_iterations": of.n}
            ),
        },
        smallest=True,
    ),
    "ddn": Duel(
        2,
        100,
        lambda n: DDN(steps=n),
        {
            "foolbox": fb("DDNAttack", lambda of: {"steps": of.n}),
            "adv-lib": al("ddn", lambda of: {"steps": of.n, "levels": None}),
        },
        smallest=True,
    ),
    "fmn-l0": _fmn(0),
    "fmn-l1": _fmn(1),
    "fmn-l2": _fmn(2),
    "fmn-linf": _fmn(INF),
    "jsma": Duel(
        0,
        1,
        lambda n: JSMA(most=0.1, scores="logits"),
        {"torchattacks": ta("JSMA", lambda of: {"theta": 1.0, "gamma": 0.1})},
        smallest=True,
        shift=True,
    ),
    "boundary": Duel(
        2,
        2000,
        lambda n: Boundary(queries=n),
        {"foolbox": fb("BoundaryAttack", lambda of: {"steps": of.n})},
        smallest=True,
        matched=True,
    ),
    "hop-skip-jump-l2": _hop_skip_jump(2),
    "hop-skip-jump-linf": _hop_skip_jump(INF),
    "pointwise-l0": Duel(
        0,
        1,
        lambda n: Pointwise(queries=n),
        {"foolbox": fb("PointwiseAttack", lambda of: {"l2_binary_search": False})},
        smallest=True,
        matched=True,
    ),
    "pointwise-l2": Duel(
        2,
        1,
        lambda n: Pointwise(queries=n),
        {"foolbox": fb("PointwiseAttack", lambda of: {"l2_binary_search": True})},
        smallest=True,
        matched=True,
    ),
    "salt-and-pepper": Duel(
        2,
        1000,
        lambda n: SaltAndPepper(queries=n),
        {"foolbox": fb("SaltAndPepperNoiseAttack", lambda of: {"steps": of.n})},
        smallest=True,
        matched=True,
    ),
    "spsa": Duel(
        INF,
        30,
        lambda n: SPSA(queries=n * 65, samples=32),
        {
            "torchattacks": _spsa(lambda of: 0.01),
            "torchattacks (rate of ours)": _spsa(lambda of: of.eps / 2),
        },
    ),
    "one-pixel": Duel(
        0,
        20,
        lambda n: OnePixel(population=90, generations=n),
        {"torchattacks": ta("OnePixel", lambda of: {"pixels": 5, "steps": of.n, "popsize": 90})},
        eps=5,
    ),
    "spatial": Duel(
        math.nan,
        5,
        lambda n: SpatialGrid(rotations=5, shifts=5),
        {"foolbox": fb("SpatialAttack", lambda of: {})},
    ),
}


def played(duel: Duel, of: Subject, label: str, scale: float, known: Runs) -> Row:
    """One peer and ours on the images that are classified correctly; `known` keeps runs of ours."""
    with torch.no_grad():
        stands = of.net(of.x).argmax(1) == of.y
    x, y = of.x[stands], of.y[stands]
    n = max(1, round(duel.n * scale))
    own = {2: of.pair.l2, INF: of.pair.eps}.get(duel.p, INF)
    eps = INF if duel.smallest else duel.eps or own
    case = Case(Counted(of.net).eval(), x, y, eps, duel.p, n)
    torch.manual_seed(0)
    numpy.random.seed(0)
    begin = time.process_time()
    try:
        with quiet():
            theirs = duel.peers[label](case).detach()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        return {"peer_did_not_run": reason}
    peer_seconds = time.process_time() - begin
    asked = case.net.forwards / len(x), case.net.backwards / len(x)
    budget = max(2, round(asked[0])) if duel.matched else n
    threat = Spatial(rotation=30, translation=3) if math.isnan(duel.p) else BALLS[duel.p](eps)
    aim = (y + 1) % 10 if duel.shift else None
    if budget not in known:
        begin = time.process_time()
        with FrozenModel(of.net, block=64) as frozen:
            keys = Keys.of(0, range(len(x)))
            found = duel.ours(budget).run(frozen, x, y, threat, keys=keys, targets=aim)
        known[budget] = found, time.process_time() - begin
    mine, seconds = known[budget]
    row = {
        "images": len(x),
        "radius": None if math.isinf(eps) else eps,
        "steps": n,
        "queries_given": budget if duel.matched else None,
        "cpu_seconds": {"ours": seconds, "peer": peer_seconds},
        "passes": {
            "ours": float((mine.forwards + mine.backwards).double().mean()),
            "peer": sum(asked),
        },
    }
    broken = [fooled(of.net, each, x, y, aim, eps, duel.p) for each in (mine.x_adv, theirs)]
    return row | verdict(broken[0], broken[1], mine.x_adv - x, theirs - x, duel)


def fooled(
    net: nn.Module, x_adv: Tensor, x: Tensor, y: Tensor, aim: Tensor | None, eps: float, p: float
) -> Tensor:
    """Which points fool the network (to rounding), lie in the ball (to 1e-5) and in the box, and
    are not blank."""
    with torch.no_grad():
        logits = net(x_adv)
    slack = 1e-5 * logits.abs().amax(dim=1)
    done = goal(logits, y, aim) <= slack
    done &= x_adv.flatten(1).amax(dim=1) > 0
    flat = x_adv.flatten(1)
    done &= flat.isfinite().all(1) & (flat.amin(1) >= -1e-5) & (flat.amax(1) <= 1 + 1e-5)
    if math.isfinite(eps) and not math.isnan(p):
        done &= size(x_adv - x, p) <= eps * (1 + 1e-5) + 1e-6
    return done


def size(move: Tensor, p: float) -> Tensor:
    """The norm of each row; of L0 the count of features that changed by more than 1e-6."""
    if p == 0:
        return (move.flatten(1).abs() > 1e-6).sum(1).float()
    return norm(move, p)


def verdict(mine: Tensor, theirs: Tensor, move: Tensor, other: Tensor, duel: Duel) -> Row:
    """Whether ours is at least as strong."""
    only_ours, only_peer = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
    row: Row = {
        "broken": {"ours": int(mine.sum()), "peer": int(theirs.sum())},
        "only_ours": only_ours,
        "only_peer": only_peer,
    }
    if duel.smallest:
        ours, peer = size(move, duel.p).double(), size(other, duel.p).double()
        ours, peer = ours.masked_fill(~mine, INF), peer.masked_fill(~theirs, INF)
        both = mine & theirs
        pairs = {
            "median": (median(ours), median(peer)),
            "median_both": (median(ours[both]), median(peer[both])),
        }
        for name, pair in pairs.items():
            row[name] = {
                who: value if math.isfinite(value) else None
                for who, value in zip(("ours", "peer"), pair, strict=True)
            }
        row["smaller"] = {
            "ours": int((1.01 * ours < peer).sum()),
            "peer": int((1.01 * peer < ours).sum()),
        }
    return row | judged(row)


def judged(row: Row) -> Row:
    """Whether ours is at least as strong, and by what."""
    holds = no_more(row["only_peer"], row["only_ours"])
    if "median" not in row:
        return {"holds": holds, "by": "successes"}
    middles = row["median"], row.get("median_both", row["median"])
    told = middles[1] if set(middles[0].values()) == {None} else middles[0]
    ours, peer = (INF if told[who] is None else told[who] for who in ("ours", "peer"))
    if ours <= 1.01 * peer:
        return {"holds": holds, "by": "median"}
    pairs = row.get("smaller") or {"ours": 0, "peer": INF}
    return {"holds": holds and no_more(pairs["peer"], pairs["ours"]), "by": "pairs"}


def no_more(peer: float, ours: float) -> bool:
    """Whether the first count exceeds the second by no more than twice the root of their sum."""
    return peer < INF and peer - ours <= 2 * math.sqrt(peer + ours)


def median(sizes: Tensor) -> float:
    """The middle size, or the mean of the two in the middle; infinite for none."""
    if not len(sizes):
        return INF
    ordered = sizes.sort().values
    return float((ordered[(len(sizes) - 1) // 2] + ordered[len(sizes) // 2]) / 2)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what peers print and warn of."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def shown(median: dict[str, float | None] | None) -> str:
    """Two medians, infinite ones as `inf`; nothing for a radius given."""
    if median is None:
        return ""
    return " / ".join("inf" if each is None else f"{each:.4g}" for each in median.values())


def table(rows: dict[str, Row]) -> str:
    """One line per attack, model and peer."""
    lines = [
        "| attack | model | peer | images | broken, ours / peer | only ours / only peer"
        " | median, ours / peer | smaller by 1 %, ours / peer | passes, ours / peer"
        " | CPU seconds, ours / peer | holds |",
        "|" + "---|" * 11,
    ]
    for key, row in rows.items():
        head = " | ".join(key.split("/"))
        if "peer_did_not_run" in row:
            lines.append(f"| {head} | peer did not run: {row['peer_did_not_run']} |" + " |" * 7)
            continue
        cells = [
            str(row["images"]),
            f"{row['broken']['ours']} / {row['broken']['peer']}",
            f"{row['only_ours']} / {row['only_peer']}",
            shown(row.get("median")),
            " / ".join(str(each) for each in row.get("smaller", {}).values()),
            f"{row['passes']['ours']:.0f} / {row['passes']['peer']:.0f}",
            f"{row['cpu_seconds']['ours']:.1f} / {row['cpu_seconds']['peer']:.1f}",
            ("by pairs" if row["by"] == "pairs" else "yes") if row["holds"] else "NO",
        ]
        lines.append(f"| {head} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def keep(result: Row, out: Path | None) -> None:
    """Writes the rows, in the order of the attacks and models."""
    attacks, models = list(DUELS), list(PAIRS)

    def place(key: str) -> tuple[int, int]:
        attack, model, _ = key.split("/")
        return attacks.index(attack), models.index(model)

    result["rows"] = {key: result["rows"][key] for key in sorted(result["rows"], key=place)}
    for row in result["rows"].values():
        row |= judged(row) if "broken" in row else {}
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--attacks", default=",".join(DUELS))
    parser.add_argument("--models", default=",".join(MODELS), help=f"of {', '.join(PAIRS)}")
    parser.add_argument("--limit", type=int, default=60, help="the first so many images")
    parser.add_argument("--scale", type=float, default=1.0, help="of all budgets, for trying out")
    parser.add_argument(
        "--merge",
        type=Path,
        nargs="*",
        help="add to the rows of these files (the last has the say); without a name, of --out",
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/bench-models"))
    parser.add_argument("--data-dir", default=os.environ.get("HOLDFAST_DATA", "../shared/data"))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    names = [name for name in options.attacks.split(",") if name]
    models = options.models.split(",")
    if unknown := [n for n in names if n not in DUELS] + [m for m in models if m not in PAIRS]:
        parser.error(f"unknown: {', '.join(unknown)}; attacks: {', '.join(DUELS)}")
    torch.set_num_threads(1)
    with_peers()
    result: Row = {"what": "attacks beside their peers, equal budgets", "rows": {}}
    earlier = [options.out] if options.merge == [] and options.out else options.merge or []
    for path in [each for each in earlier if each.exists()]:
        result["rows"] |= json.loads(path.read_text())["rows"]
    result["machine"] = machine()
    for model in models if names else ():
        of = subject(
            PAIRS[model], data_dir=options.data_dir, cache=options.cache, limit=options.limit
        )
        runs: dict[str, Runs] = {name: {} for name in names}
        for name, label in [(each, label) for each in runs for label in DUELS[each].peers]:
            key = f"{name}/{model}/{label}"
            result["rows"][key] = row = played(DUELS[name], of, label, options.scale, runs[name])
            seconds = row.get("cpu_seconds", {"ours": 0.0, "peer": 0.0})
            spent = f"{seconds['ours']:.1f} / {seconds['peer']:.1f} CPU seconds"
            say(f"{key}: {row.get('peer_did_not_run', row.get('holds'))}, {spent}")
            keep(result, options.out)
    keep(result, options.out)
    print(table(result["rows"]))


if __name__ == "__main__":
    main()
