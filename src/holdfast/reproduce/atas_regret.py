"""Regret of block ascent with constant and adaptive steps on a convex-concave problem.

The gap of the averaged weights is below the regret over T, and that below the bound over T, which
falls like 1 / sqrt(T).

Source: Liu 2022, sec 5.2.3, Lemma 5.1, Theorems 5.3 and 5.4.
Departures: bounds as corrected in `toys.regret`.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from holdfast.core.random import Keys
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.toys.block_ascent import BlockAscent, CoupledQuadratic
from holdfast.toys.regret import adaptive_bound, adaptive_steps, constant_bound, constant_steps

HORIZONS = (100, 400, 1600, 6400)
CONSTANT, ADAPTIVE = "SGDBCA", "ASGDBCA"
INSTANCES, FEATURES, MOMENTUM = 20, 5, 0.5
MEASURES = ("gap", "regret_per_step", "bound_per_step")


def named(method: str, horizon: int) -> str:
    """The line of a method and a number of steps."""
    return f"{method}, T = {horizon}"


def rows(size: Size) -> Sequence[ComputedRow]:
    """Both methods at every horizon; the quick size has the two shortest."""
    horizons = HORIZONS[:2] if size.name == "quick" else HORIZONS
    return [
        ComputedRow(
            name=named(method, horizon),
            computes=f"means over {size.images} runs",
            compute=partial(_regret, method, horizon),
        )
        for method in (CONSTANT, ADAPTIVE)
        for horizon in horizons
    ]


def _regret(method: str, horizon: int, bench: Bench) -> Mapping[str, Tensor]:
    problem = CoupledQuadratic.make(bench.seed, INSTANCES, FEATURES)
    constants = problem.constants()
    if method == CONSTANT:
        steps, bound = constant_steps(constants, horizon), constant_bound(constants, horizon)
    else:
        steps = adaptive_steps(constants, horizon, MOMENTUM)
        bound = adaptive_bound(constants, horizon, MOMENTUM)
    momentum = None if method == CONSTANT else MOMENTUM
    ascent = BlockAscent(theta_step=steps[0], input_step=steps[1], momentum=momentum)
    found = ascent.run(problem, horizon, Keys.of(bench.seed, range(bench.images)))
    return columns_of(
        gap=float(problem.gap(found).mean()),
        regret_per_step=float(problem.regret(found).mean()) / horizon,
        bound_per_step=bound.total / horizon,
    )


def _bounded(lines: Lines) -> bool:
    """Gap, regret and bound are in this order, wherever they ran."""
    return all(
        figure(lines, name, "gap")
        <= figure(lines, name, "regret_per_step")
        <= figure(lines, name, "bound_per_step")
        for name in lines
    )


def _falls(lines: Lines) -> bool:
    """Four times the steps leave less of the gap, for both methods."""
    return all(
        figure(lines, named(method, 4 * each), "gap") < figure(lines, named(method, each), "gap")
        for method in (CONSTANT, ADAPTIVE)
        for each in HORIZONS[:-1]
    )


REPRODUCTION = Reproduction(
    id="atas-regret",
    title="Regret of constant and adaptive steps",
    thesis="Liu 2022",
    source="Lemma 5.1, Theorems 5.3 and 5.4 (sec 5.2.3)",
    needs=("nothing",),
    setting="bounds on the regret; no experiment is published",
    sizes=(
        Size(name="quick", images=2, minutes=0.02, note="2 runs of up to 400 steps"),
        Size(name="scaled", images=10, minutes=0.3, note="10 runs of up to 6,400 steps"),
    ),
    rows=rows,
    published={},
    claims=(
        Claim(
            text="the gap is below the regret per step, and that below its bound", holds=_bounded
        ),
        Claim(text="the gap falls with the number of steps", holds=_falls),
    ),
    draw=sweep(
        {
            method: {float(each): named(method, each) for each in HORIZONS}
            for method in (CONSTANT, ADAPTIVE)
        },
        "steps",
        log=True,
    ),
    measures=MEASURES,
    tolerance={},
    remarks="The printed bounds fail for many instances; the corrected ones have the same rate.",
)
