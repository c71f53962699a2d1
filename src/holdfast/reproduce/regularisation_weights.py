"""TRADES and adversarial regularization over their weight: the four accuracies.

With adversarial regularization (AR) the attack and the loss share both terms; it is more robust
than TRADES at every weight, and less accurate.

Source: Zhang 2019, ch. 4, Tables 4.1 and 4.2, Figs 4-1 to 4-4; sec 4.2.2 names the trade-off that
the last panel shows.
"""

from collections.abc import Callable, Sequence

from holdfast.reproduce.figures import sweep
from holdfast.reproduce.orderings import figure, largest, per_cent, rising
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.regularisation_methods import MEASURES, RO, TEST, ar, row, sizes, trades
from holdfast.reproduce.trainings import TrainedRow

WEIGHTS = (0.1, 0.2, 0.4, 0.8, 1.0, 2.0, 3.0, 5.0)
FEWER = (0.1, 1.0, 5.0)


def rows(size: Size) -> Sequence[TrainedRow]:
    """Robust optimization, then both methods at every weight; smaller sizes have three weights."""
    weights = WEIGHTS if size.name == "published" else FEWER
    names = [RO, *map(trades, weights), *map(ar, weights)]
    return [row(size, name, name) for name in names]


def _everywhere(text: str, test: Callable[[Lines, str, str], bool]) -> Claim:
    """A claim on TRADES and AR at each of the weights that ran."""

    def holds(lines: Lines) -> bool | None:
        ran = [weight for weight in WEIGHTS if trades(weight) in lines]
        return all(test(lines, trades(each), ar(each)) for each in ran) if ran else None

    return Claim(text=text, holds=holds)


def _most_fitted(lines: Lines) -> bool:
    """RO has the largest robust accuracy in training."""
    others = [figure(lines, name, MEASURES[2]) for name in lines if name != RO]
    return all(figure(lines, RO, MEASURES[2]) > each for each in others)


_TRADES = {
    0.1: (99.95, 90.62, 37.24, 32.03),
    0.2: (99.78, 88.75, 53.17, 41.01),
    0.4: (99.77, 87.99, 61.52, 42.48),
    0.8: (99.24, 86.34, 71.77, 47.40),
    1.0: (98.91, 85.83, 71.35, 47.90),
    2.0: (97.70, 84.29, 71.43, 48.64),
    3.0: (96.64, 84.05, 71.58, 50.41),
    5.0: (93.67, 81.61, 70.32, 52.67),
}
_AR = {
    0.1: (95.80, 83.14, 75.60, 49.86),
    0.2: (97.13, 84.43, 75.35, 48.22),
    0.4: (96.34, 83.96, 75.20, 50.92),
    0.8: (95.43, 82.40, 74.75, 51.26),
    1.0: (94.74, 82.30, 75.10, 52.00),
    2.0: (92.24, 80.54, 73.13, 53.72),
    3.0: (92.37, 81.28, 71.11, 52.57),
    5.0: (86.46, 76.52, 68.22, 53.90),
}

REPRODUCTION = Reproduction(
    id="regularisation-weights",
    title="TRADES and adversarial regularization over their weight",
    thesis="Zhang 2019",
    source="Tables 4.1 and 4.2, Figs 4-1 to 4-4 (ch. 4)",
    needs=("CIFAR-10", "a GPU"),
    setting="ResNet-18, CIFAR-10, linf 0.03, 100 epochs, last weights, PGD-20, one run",
    sizes=tuple(sizes(quick=0.15, scaled=25, published=700_000)),
    rows=rows,
    published=per_cent(
        {
            RO: (95.77, 82.93, 76.28, 48.03),
            **{trades(weight): line for weight, line in _TRADES.items()},
            **{ar(weight): line for weight, line in _AR.items()},
        },
        MEASURES,
    ),
    claims=(
        rising(
            "with weight 5 AR is more robust than TRADES, and TRADES than robust optimization",
            (RO, trades(5.0), ar(5.0)),
        ),
        _everywhere(
            "AR is more robust than TRADES at every weight",
            lambda lines, one, other: figure(lines, other) > figure(lines, one),
        ),
        _everywhere(
            "TRADES is more accurate than AR at every weight, in training and test",
            lambda lines, one, other: all(
                figure(lines, one, each) > figure(lines, other, each) for each in MEASURES[:2]
            ),
        ),
        Claim(
            text="robust optimization has the largest robust accuracy in training",
            holds=_most_fitted,
        ),
        largest(
            "a small weight of TRADES is more accurate than robust optimization",
            trades(0.1),
            [RO],
            "clean_accuracy",
        ),
    ),
    draw=sweep(
        {"TRADES": {w: trades(w) for w in WEIGHTS}, "AR": {w: ar(w) for w in WEIGHTS}},
        "weight",
        log=True,
        against=TEST,
    ),
    measures=MEASURES,
    remarks=(
        "Weight 0 is robust optimization for both, not TRADES at 0, which is ordinary training. "
        "The text has the best AR 1.3 points above the best TRADES; its cells give 1.23."
    ),
)
