"""The columns of provable robustness of published MNIST networks, beside those of the thesis.

The networks have the thesis's CNN architecture and are those that were published with other work:
trained plainly, by the dual bound at linf 0.1 (KW), and by FGSM at linf 0.3. What the tables claim
of all networks is judged on them: the identities between columns, and which certificate is of use
for which training.

Source: Liu 2022, sec 3.3.4, Table 3.6 (MNIST CNN, linf 0.1).
Departures: no exact verifier; AT is FGSM at 0.3.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from holdfast.benchmark.verified_columns import VerifiedColumns
from holdfast.core.random import Keys
from holdfast.reproduce.computations import Bench, ComputedRow, columns_of
from holdfast.reproduce.figures import bars
from holdfast.reproduce.orderings import figure
from holdfast.reproduce.records import Claim, Lines, Reproduction, Size
from holdfast.reproduce.subjects import DIGITS, ROBUST_MNIST, STANDARD_MNIST, Published, Subject
from holdfast.reproduce.verified_tables import contradictions, lines_of, radius_of
from holdfast.threats.balls import Linf

SETTING = "MNIST CNN linf 0.1"
EPS = radius_of(SETTING)
PLAIN, KW, FGSM = f"{SETTING}: plain", f"{SETTING}: KW", f"{SETTING}: FGSM at 0.3"
DUAL_MNIST = Published(name="mnist_conv_dual_linf0.1")
_MNIST: Mapping[str, Subject] = {PLAIN: STANDARD_MNIST, KW: DUAL_MNIST, FGSM: ROBUST_MNIST}
_QUICK: Mapping[str, Subject] = {PLAIN: DIGITS}
_LINEAR, _INTERVAL = "linear_error_rate", "interval_error_rate"


def rows(size: Size) -> Sequence[ComputedRow]:
    """One for each network."""
    subjects = _QUICK if size.name == "quick" else _MNIST
    return [
        ComputedRow(
            name=name,
            computes=f"errors and certified radii of {subject.name} at {size.threats[0]}",
            compute=partial(_row, subject),
        )
        for name, subject in subjects.items()
    ]


def _row(subject: Subject, bench: Bench) -> Mapping[str, Tensor]:
    """The columns of one network, and how many invariants some example breaks."""
    loaded = subject.load(bench.place, bench.images).to(bench.device)
    keys = Keys.of(bench.seed, loaded.index).to(bench.device)
    x, y = loaded.x.to(bench.device), loaded.y.to(bench.device)
    row = VerifiedColumns().measure(loaded.model, x, y, Linf(EPS), keys=keys)  # type: ignore[arg-type]
    return columns_of(**row.figures(), breaches=len(row.breaches()))


def _identities(lines: Lines) -> bool:
    """Whether all lines satisfy the identities; published ones up to their digits."""
    return not any(
        contradictions({name: figure(lines, each, name) for name in _MEASURES}, EPS)
        for each in lines
    )


_MEASURES = (
    "clean_error_rate",
    "pgd_error_rate",
    _LINEAR,
    _INTERVAL,
    "linear_radius",
    "interval_radius",
    "envelope_radius",
)


def _useful(lines: Lines) -> bool:
    """Linear bounds certify most of KW's examples and none of the plainly trained network's."""
    return figure(lines, KW, _LINEAR) < 0.2 and figure(lines, PLAIN, _LINEAR) > 0.9


def _intervals(lines: Lines) -> bool:
    """Intervals certify nothing of either, as neither was trained on them."""
    return min(figure(lines, each, _INTERVAL) for each in (KW, PLAIN)) > 0.9


def _gap(lines: Lines) -> bool:
    """The envelope adds to the mean radius of KW's network."""
    return figure(lines, KW, "envelope_radius") > figure(lines, KW, "linear_radius")


REPRODUCTION = Reproduction(
    id="verified-columns-mnist",
    title="Errors and certified radii of MNIST networks, by attack, bounds and envelope",
    thesis="Liu 2022",
    source="Table 3.6, MNIST CNN (sec 3.3.4)",
    needs=("MNIST", "models/mnist_conv_*.safetensors"),
    setting="16-32-100 CNN, linf 0.1, 10,000 test images, PGD, 11 trainings",
    sizes=(
        Size(name="quick", images=20, minutes=0.1, threats=("linf:0.1",), note="digits"),
        Size(
            name="scaled",
            images=200,
            minutes=2,
            threats=("linf:0.1",),
            note="first 200 images; published networks of other work, trained plainly, by the "
            "dual bound, and by FGSM at 0.3",
        ),
        Size(
            name="published",
            images=10_000,
            minutes=90,
            threats=("linf:0.1",),
            note="published networks of other work; no exact verifier",
        ),
    ),
    rows=rows,
    published=lines_of(SETTING),
    measures=(*_MEASURES, "exact_error_rate", "breaches"),
    claims=(
        Claim(
            text="ACB = eps (1 - CRE), ACB Lin <= ACB PEC <= eps (1 - CTE), errors in order",
            holds=_identities,
        ),
        Claim(text="linear bounds certify most of KW's images, none of plain's", holds=_useful),
        Claim(text="intervals certify only networks trained on intervals", holds=_intervals),
        Claim(text="the envelope adds to the mean certified radius", holds=_gap),
    ),
    draw=bars,
    remarks=(
        "Radii are input units. Printed exact errors of AT are above its linear errors, which no "
        "exact method can be: time-outs, or another set of images, are counted there."
    ),
)
