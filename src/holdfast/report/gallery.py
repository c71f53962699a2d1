"""The gallery: clean input, magnified perturbation and adversarial input of some examples, as PNG.

A perturbation of one channel is shown from blue (darker than before) over white to orange
(brighter); one of three channels as grey plus the change of each. Full colour is the largest change
of the gallery, and the magnification is stated.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.report import wording

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MOST_CARDS = 24

_DARKER, _BRIGHTER = (10, 95, 163), (176, 69, 8)


@dataclass(frozen=True)
class Card:
    """One example: three pictures as data URIs, and what is known of it.

    Args:
        clean: the input as it is.
        change: the perturbation, magnified.
        adversarial: the perturbed input.
        index: of the example.
        label: its class's name.
        before: what the model says of the clean input.
        after: what it says of the adversarial one.
        verdict: `broken`, `stands`, or `misclassified` before any change.
        verb: `stays` where the class is the same after, `becomes` where it is not.
        size: of the perturbation, in input units.
    """

    clean: str
    change: str
    adversarial: str
    index: str
    label: str
    before: str
    after: str
    verdict: str
    verb: str
    size: str

    @property
    def alt(self) -> str:
        """The example in words."""
        return (
            f"Example {self.index}, labelled {self.label}: {self.before} {self.verb} {self.after}"
        )


@dataclass(frozen=True)
class Gallery:
    """Cards, and what they have in common.

    Args:
        cards: empty where nothing can be shown.
        note: the magnification, or why there is nothing to show.
    """

    cards: tuple[Card, ...]
    note: str


def gallery(arrays: Mapping[str, "Array"] | None, names: Sequence[str] = ()) -> Gallery | None:
    """The cards of a run's `gallery.safetensors`; None where the run has none.

    Args:
        arrays: `clean` and `adversarial` (n, C, H, W), `label`, `prediction`,
            `adversarial_prediction`, `confidence`, `adversarial_confidence`, `size`, `index` (n,);
            examples whose adversarial input is not finite are left out.
        names: of the classes; a number without a name stands for itself.
    """
    if arrays is None:
        return None
    import numpy

    clean, adversarial = arrays.get("clean"), arrays.get("adversarial")
    if clean is None or adversarial is None or clean.shape != adversarial.shape:
        return Gallery((), "The gallery of this run holds no pairs of inputs.")
    if clean.ndim != 4:
        shape = " x ".join(map(str, clean.shape[1:])) or "a number"
        return Gallery((), f"No pictures: the inputs are no images ({shape} features).")
    clean, adversarial = (_float(each) for each in (clean, adversarial))
    finite = numpy.isfinite(adversarial + clean).all(axis=(1, 2, 3))
    rows = numpy.flatnonzero(finite)[:MOST_CARDS]
    if not len(rows):
        return Gallery((), "No pictures: no example of this run was perturbed.")
    change = adversarial[rows] - clean[rows]
    largest = float(abs(change).max()) or 1.0
    low, high = _span(clean[rows], adversarial[rows])
    cards = [
        Card(
            clean=_picture((clean[row] - low) / (high - low)),
            change=_difference(change[at] / largest),
            adversarial=_picture((adversarial[row] - low) / (high - low)),
            **_words(arrays, int(row), names),
        )
        for at, row in enumerate(rows)
    ]
    return Gallery(tuple(cards), _note(largest, clean.shape[1], low, high))


def _note(largest: float, channels: int, low: float, high: float) -> str:
    colours, half = "blue where it darkens, orange where it brightens", 1
    if channels == 3:
        colours, half = "as grey plus the change of each channel", 2
    scale = "" if (low, high) == (0, 1) else f" Inputs are shown from {low:.4g} to {high:.4g}."
    times = (high - low) / (half * largest)
    return (
        f"Perturbations are magnified {times:.3g} times, {colours}: full colour is a change of "
        f"{largest:.4g}.{scale}"
    )


def _words(arrays: Mapping[str, "Array"], row: int, names: Sequence[str]) -> dict[str, str]:
    """The texts of a card; what the file does not hold is a dash."""
    label, before, after = (
        _entry(arrays, key, row) for key in ("label", "prediction", "adversarial_prediction")
    )
    verdict = "misclassified" if before != label else "stands" if after == label else "broken"
    return {
        "index": wording.count(_entry(arrays, "index", row)).replace(",", ""),
        "label": _class(label, names),
        "before": _said(before, _entry(arrays, "confidence", row), names),
        "after": _said(after, _entry(arrays, "adversarial_confidence", row), names),
        "verdict": verdict,
        "verb": "stays" if before == after else "becomes",
        "size": wording.decimal(_entry(arrays, "size", row)),
    }


def _said(label: float | None, confidence: float | None, names: Sequence[str]) -> str:
    return f"{_class(label, names)}\u00a0({wording.percent(confidence, 0)})"


def _class(label: float | None, names: Sequence[str]) -> str:
    if label is None:
        return wording.ABSENT
    return names[int(label)] if 0 <= int(label) < len(names) else str(int(label))


def _entry(arrays: Mapping[str, "Array"], key: str, row: int) -> float | None:
    column = arrays.get(key)
    return None if column is None or row >= len(column) else float(column[row])


def _float(array: "Array") -> "Array":
    import numpy

    return array.astype(numpy.float64)


def _span(clean: "Array", adversarial: "Array") -> tuple[float, float]:
    """The range that is shown from black to white: [0, 1] wherever it holds the inputs."""
    low = float(min(clean.min(), adversarial.min()))
    high = float(max(clean.max(), adversarial.max()))
    return (0.0, 1.0) if low >= -1e-6 and high <= 1 + 1e-6 else (low, max(high, low + 1e-12))


def _picture(image: "Array") -> str:
    """An image (C, H, W) in [0, 1]: grey, or colour for three channels."""
    shown = image if len(image) == 3 else image.mean(axis=0, keepdims=True).repeat(3, axis=0)
    return _png(shown * 255)


def _difference(change: "Array") -> str:
    """A change (C, H, W) in [-1, 1] as colours."""
    import numpy

    if len(change) == 3:
        return _png((change / 2 + 0.5) * 255)
    mean = change.mean(axis=0)
    white = numpy.full((3, 1, 1), 255.0)
    up, down = (numpy.array(each, float).reshape(3, 1, 1) for each in (_BRIGHTER, _DARKER))
    return _png(white + mean.clip(0, 1) * (up - white) + (-mean).clip(0, 1) * (down - white))


def _png(levels: "Array") -> str:
    """Levels (3, H, W) from 0 to 255 as a data URI."""
    import numpy
    from PIL import Image

    pixels = numpy.ascontiguousarray(levels.round().clip(0, 255).transpose(1, 2, 0), numpy.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, format="PNG")
    return "data:image/png;base64," + base64.b64encode(sink.getvalue()).decode()
