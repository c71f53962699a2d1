"""The attacks of the catalogue with budgets of a few passes, and a threat that each one takes."""

from holdfast.attacks import (
    APGD,
    ATTACKS,
    DDN,
    DFO,
    EAD,
    FAB,
    FMN,
    JSMA,
    NES,
    PGD,
    SPSA,
    Bandits,
    BayesAttack,
    Boundary,
    CarliniWagner,
    DeepFool,
    HopSkipJump,
    NoiseSearch,
    OnePixel,
    Parsimonious,
    Pointwise,
    SaltAndPepper,
    SignHunter,
    SimBA,
    SpatialGradient,
    SpatialGrid,
    SpatialRandom,
    Square,
    apgd_t,
    fab_t,
)
from holdfast.losses import DLR, Margin
from holdfast.threats import L0, L1, L2, Linf, Spatial

SMALL = {name: ATTACKS[name].load() for name in ("fgsm", "fgsm-rs", "r-fgsm")} | {
    "pgd": lambda: PGD(steps=4, restarts=2),
    "apgd-ce": lambda: APGD(steps=7),
    "apgd-dlr": lambda: APGD(steps=7, loss=DLR()),
    "apgd-margin": lambda: APGD(steps=7, loss=Margin(), restarts=2),
    "apgd-t": lambda: apgd_t(5, 2),
    "fab": lambda: FAB(steps=4),
    "fab-t": lambda: fab_t(3, 2),
    "deepfool": lambda: DeepFool(steps=4),
    "cw": lambda: CarliniWagner(binary_steps=2, iterations=6, learning_rate=0.1, initial_const=1.0),
    "ead": lambda: EAD(binary_steps=2, iterations=6, learning_rate=0.1, initial_const=1.0),
    "ddn": lambda: DDN(steps=6, init_norm=0.5, gamma=0.2),
    "fmn": lambda: FMN(steps=12),
    "jsma": lambda: JSMA(steps=4),
    "square": lambda: Square(queries=12),
    "bandits": lambda: Bandits(queries=31),
    "parsimonious": lambda: Parsimonious(queries=25),
    "signhunter": lambda: SignHunter(queries=25),
    "simba": lambda: SimBA(queries=25),
    "dfo": lambda: DFO(queries=20, tiles=3),
    "bayes": lambda: BayesAttack(queries=8, tiles=2, initial=4, refit=4),
    "spsa": lambda: SPSA(queries=28, samples=4),
    "nes": lambda: NES(queries=28, samples=4),
    "boundary": lambda: Boundary(queries=35, draws=6),
    "hop-skip-jump": lambda: HopSkipJump(queries=45, draws=6, samples=6),
    "pointwise": lambda: Pointwise(queries=25, draws=6, restarts=2),
    "salt-and-pepper": lambda: SaltAndPepper(queries=25),
    "one-pixel": lambda: OnePixel(population=6, generations=3),
    "noise": lambda: NoiseSearch(samples=9),
    "spatial-grid": lambda: SpatialGrid(rotations=3, shifts=3),
    "spatial-random": lambda: SpatialRandom(samples=5),
    "spatial-gradient": lambda: SpatialGradient(steps=3, restarts=2),
}
MOVED = Spatial(rotation=30, translation=2)
_HOMES = {"ddn": L2(0.3), "boundary": L2(0.9), "ead": L1(2.0)}
_HOMES |= {name: L0(9) for name in ("jsma", "pointwise", "salt-and-pepper", "one-pixel")}
_HOMES |= {name: MOVED for name in ATTACKS if name.startswith("spatial-")}


def home(name):
    """A threat that the attack of this name takes: Linf where it can."""
    return _HOMES.get(name.partition(" ")[0], Linf(0.02))
