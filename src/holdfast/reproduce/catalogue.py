"""The published tables and figures that can be computed again."""

from holdfast.core.catalogue import Catalogue, Entry

_WONG = "Wong 2020"


def _entry(
    name: str, summary: str, source: str, cost: str, thesis: str = "Andriushchenko 2024"
) -> Entry:
    return Entry(
        name=name,
        target=f"holdfast.reproduce.{name.replace('-', '_')}:REPRODUCTION",
        summary=summary,
        source=f"{thesis}, {source}",
        guarantee="published figures, ours and their difference; each claim judged",
        cost=cost,
    )


REPRODUCTIONS = Catalogue(
    "reproduction",
    _entry(
        "square-imagenet",
        "Square among attacks by scores: failures, queries, success curves",
        "Tables 3.2 and 3.3, Figs 3.1, 3.4 and 3.6",
        "scaled: minutes; published: ImageNet, days",
    ),
    _entry(
        "square-ablation",
        "shape, signs and start of the updates, linf and l2",
        "Tables 3.1 and 3.7",
        "scaled: minutes; published: ImageNet, a day",
    ),
    _entry(
        "square-p-sweep",
        "ten values of the first fraction p",
        "Fig 3.5",
        "scaled: minutes; published: ImageNet, a day",
    ),
    _entry("square-seeds", "ten seeds on four threats", "Table 3.8", "scaled: minutes"),
    _entry(
        "square-robust-mnist",
        "restarts on a robust network, against white-box attacks",
        "Table 3.4",
        "scaled: minutes",
    ),
    _entry(
        "square-l2-on-linf",
        "gradient masking: l2 attacks on a network trained for linf",
        "Table 3.5",
        "scaled: minutes",
    ),
    _entry(
        "square-logit-pairing",
        "gradient masking: clean logit pairing and logit squeezing",
        "Table 3.6",
        "scaled: minutes",
    ),
    _entry(
        "square-post-averaging",
        "gradient masking: randomised averaging over spheres",
        "Table 3.12",
        "scaled: minutes",
    ),
    _entry(
        "square-targeted",
        "targeted attacks by scores",
        "Table 3.9",
        "scaled: minutes; published: ImageNet, weeks",
    ),
    _entry(
        "square-small-radius",
        "an imperceptible radius",
        "Table 3.11",
        "scaled: a minute; published: ImageNet, hours",
    ),
    _entry(
        "square-dilated",
        "dilated convolutions",
        "Table 3.10",
        "scaled: minutes; published: ImageNet, hours",
    ),
    _entry(
        "square-progress",
        "images, perturbations and margins after 10, 100 and 500 queries",
        "Figs 3.2, 3.3, 3.7 and 3.8",
        "scaled: seconds; published: ImageNet, minutes",
    ),
    _entry(
        "random-start-mnist",
        "fast training: start over the whole ball, full step",
        "Table 4.3",
        "scaled: 12 minutes; published: hours",
        _WONG,
    ),
)
