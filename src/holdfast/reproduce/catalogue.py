"""The published tables and figures that can be computed again."""

from holdfast.core.catalogue import Catalogue, Entry


def _entries(thesis: str, *rows: tuple[str, str, str, str]) -> list[Entry]:
    """One for each row: name, summary, place in the thesis, cost."""
    return [
        Entry(
            name=name,
            target=f"holdfast.reproduce.{name.replace('-', '_')}:REPRODUCTION",
            summary=summary,
            source=f"{thesis}, {place}",
            guarantee="published figures, ours and their difference; each claim judged",
            cost=cost,
        )
        for name, summary, place, cost in rows
    ]


REPRODUCTIONS = Catalogue(
    "reproduction",
    *_entries(
        "Andriushchenko 2024",
        (
            "square-imagenet",
            "Square among attacks by scores: failures, queries, success curves",
            "Tables 3.2 and 3.3, Figs 3.1, 3.4 and 3.6",
            "scaled: minutes; published: ImageNet, days",
        ),
        (
            "square-ablation",
            "shape, signs and start of the updates, linf and l2",
            "Tables 3.1 and 3.7",
            "scaled: minutes; published: ImageNet, a day",
        ),
        (
            "square-p-sweep",
            "ten values of the first fraction p",
            "Fig 3.5",
            "scaled: minutes; published: ImageNet, a day",
        ),
        ("square-seeds", "ten seeds on four threats", "Table 3.8", "scaled: minutes"),
        (
            "square-robust-mnist",
            "restarts on a robust network, against white-box attacks",
            "Table 3.4",
            "scaled: minutes",
        ),
        (
            "square-l2-on-linf",
            "gradient masking: l2 attacks on a network trained for linf",
            "Table 3.5",
            "scaled: minutes",
        ),
        (
            "square-logit-pairing",
            "gradient masking: clean logit pairing and logit squeezing",
            "Table 3.6",
            "scaled: minutes",
        ),
        (
            "square-post-averaging",
            "gradient masking: randomised averaging over spheres",
            "Table 3.12",
            "scaled: minutes",
        ),
        (
            "square-targeted",
            "targeted attacks by scores",
            "Table 3.9",
            "scaled: minutes; published: ImageNet, weeks",
        ),
        (
            "square-small-radius",
            "an imperceptible radius",
            "Table 3.11",
            "scaled: a minute; published: ImageNet, hours",
        ),
        (
            "square-dilated",
            "dilated convolutions",
            "Table 3.10",
            "scaled: minutes; published: ImageNet, hours",
        ),
        (
            "square-progress",
            "images, perturbations and margins after 10, 100 and 500 queries",
            "Figs 3.2, 3.3, 3.7 and 3.8",
            "scaled: seconds; published: ImageNet, minutes",
        ),
    ),
    *_entries(
        "Wong 2020",
        (
            "random-start-mnist",
            "fast training: start over the whole ball, full step",
            "Table 4.3",
            "scaled: 40 minutes; published: hours",
        ),
        (
            "fast-initialisation",
            "fast training: where the one step starts",
            "Table 4.1",
            "scaled: 25 minutes; published: a GPU, hours",
        ),
        (
            "fast-collapse-curve",
            "catastrophic overfitting, epoch by epoch",
            "Fig 4.2",
            "scaled: minutes; published: a GPU, an hour",
        ),
        (
            "fast-step-sizes",
            "fast training: length of the step, early stopping",
            "Figs 4.4 and 4.5",
            "scaled: 20 minutes; published: a GPU, a day",
        ),
        (
            "fast-epochs",
            "fewest epochs to 45 % robust accuracy",
            "Fig 4.7, Table 4.6",
            "scaled: 20 minutes; published: a GPU, a day",
        ),
        (
            "fast-mnist",
            "fast and PGD training on MNIST",
            "Table 4.4",
            "scaled: 12 minutes; published: hours",
        ),
        (
            "fast-free-imagenet",
            "fast and Free training on ImageNet",
            "Tables 4.7 and 4.9",
            "scaled: 50 minutes; published: ImageNet, weeks",
        ),
        (
            "overfitting-curves",
            "robust overfitting across data, norms, methods",
            "Fig 4.1, Table 4.12",
            "scaled: 8 minutes; published: GPUs, weeks",
        ),
        (
            "overfitting-schedules",
            "robust overfitting: five learning rates, one drop",
            "Fig 4.8, Table 4.11",
            "scaled: 30 minutes; published: GPUs, weeks",
        ),
        (
            "overfitting-widths",
            "robust overfitting over the width: double descent",
            "Figs 4.22 and 4.23",
            "scaled: 12 minutes; published: GPUs, months",
        ),
        (
            "overfitting-regularisers",
            "penalties, cutout, mixup, more data",
            "Table 4.13, Figs 4.24 to 4.32",
            "scaled: 20 minutes; published: GPUs, weeks",
        ),
        (
            "overfitting-validation",
            "early stopping on held-out images",
            "Fig 4.21, Table 4.13",
            "scaled: 4 minutes; published: a GPU, days",
        ),
        (
            "overfitting-trades",
            "TRADES to convergence, PGD stopped in time",
            "Fig 4.19, Table 4.12",
            "scaled: 10 minutes; published: GPUs, weeks",
        ),
    ),
    *_entries(
        "Andriushchenko 2024",
        (
            "gradalign-radii",
            "catastrophic overfitting: seven trainings over the radius",
            "Tables 2.4 and 2.5, Figs 2.1, 2.8 and 2.14",
            "scaled: 45 minutes; published: GPUs, weeks",
        ),
        (
            "gradalign-collapse",
            "how FGSM training collapses, epoch by epoch",
            "Fig 2.4",
            "scaled: 12 minutes; published: a GPU, hours",
        ),
        (
            "gradalign-four-filters",
            "one filter makes a four-filter network collapse",
            "Figs 2.5 to 2.7, 2.11 to 2.13",
            "scaled: 6 minutes; published: 12 minutes",
        ),
        (
            "gradalign-random-step",
            "a random start is a shorter step (Lemma 1)",
            "Lemma 1, Fig 2.2",
            "seconds",
        ),
        (
            "gradalign-reduced-step",
            "a reduced step against a random start",
            "Table 2.1, Fig 2.3",
            "scaled: 15 minutes; published: a GPU, a day",
        ),
        (
            "gradalign-corners",
            "PGD training at the corners of the ball",
            "sec 2.4",
            "scaled: 12 minutes; published: a GPU, a day",
        ),
        (
            "gradalign-linearisation",
            "error of the linear model over the perturbation's length",
            "Fig 2.10",
            "scaled: 8 minutes; published: a GPU, hours",
        ),
        (
            "gradalign-initialisation",
            "input gradients are aligned at initialisation (Lemma 2)",
            "Lemma 2, Fig 2.9",
            "seconds",
        ),
        (
            "gradalign-penalties",
            "alignment against l2 penalty and CURE",
            "Table 2.8",
            "scaled: 20 minutes; published: a GPU, days",
        ),
        (
            "gradalign-ablations",
            "weight, epochs, very large radii",
            "Figs 2.15 and 2.16, Table 2.7",
            "scaled: 25 minutes; published: a GPU, days",
        ),
        (
            "gradalign-pgd2",
            "two-step PGD training: start and step",
            "Table 2.3",
            "scaled: 8 minutes; published: a GPU, a day",
        ),
        (
            "gradalign-masking",
            "alignment under AutoAttack",
            "sec 2.11.3",
            "scaled: 15 minutes; published: a GPU, a day",
        ),
        (
            "gradalign-imagenet",
            "single-step training of ImageNet networks",
            "Table 2.6",
            "scaled: 15 minutes; published: ImageNet, weeks",
        ),
    ),
    *_entries(
        "Zhang 2019",
        (
            "regularisation-weights",
            "TRADES and adversarial regularization over their weight",
            "Tables 4.1 and 4.2",
            "scaled: 25 minutes; published: a GPU, weeks",
        ),
        (
            "pretraining-grid",
            "robust pretraining, then tuning: which method in which step",
            "Tables 5.1 to 5.4",
            "scaled: 25 minutes; published: GPUs, weeks",
        ),
        (
            "pretraining-curves",
            "what tuning forgets and learns",
            "Figs 5-1 to 5-4",
            "scaled: 20 minutes; published: GPUs, weeks",
        ),
        (
            "pretraining-size",
            "pretraining on all of CINIC-10 and on a sample",
            "Table 5.5",
            "scaled: 25 minutes; published: GPUs, weeks",
        ),
    ),
    *_entries(
        "Liu 2022",
        (
            "atas-panel",
            "fast adversarial trainings of equal cost",
            "Table 5.11",
            "scaled: 40 minutes; published: GPUs, weeks",
        ),
        (
            "atas-loss",
            "robust training loss over epochs",
            "Fig 5.6",
            "scaled: 15 minutes; published: a GPU, days",
        ),
        (
            "atas-ablations",
            "what the adaptive step depends on; ratio of the bounds",
            "sec 5.2, Eq 5.27",
            "scaled: 25 minutes; published: a GPU, days",
        ),
        (
            "atas-regret",
            "regret of constant and adaptive steps on a toy",
            "Theorems 5.3 and 5.4",
            "scaled: seconds",
        ),
        (
            "budget-panel",
            "a growing radius, once and in periods (PAS)",
            "Table 4.2",
            "scaled: 50 minutes; published: GPUs, weeks",
        ),
        (
            "budget-capacity",
            "growing radii and the width of the network",
            "Fig 4.14",
            "scaled: 35 minutes; published: a GPU, a day",
        ),
        (
            "difficulty-tuning",
            "tuning robust networks with additional data",
            "Table 4.7",
            "scaled: 15 minutes; published: GPUs, weeks",
        ),
        (
            "difficulty-tuning-fast",
            "reweighting and adaptive targets; IAT, SAT, GAIRAT",
            "Table 4.6, Figs 4.23 to 4.25",
            "scaled: 35 minutes; published: GPUs, weeks",
        ),
        (
            "verified-columns-mnist",
            "errors and certified radii by attack, bounds and envelope",
            "Table 3.6",
            "scaled: 2 minutes",
        ),
        (
            "verified-two-phases",
            "certified radius over the radius of the bounds",
            "Fig 3.6",
            "scaled: seconds",
        ),
        (
            "verified-radius-search",
            "computations of bounds for one certified radius",
            "Table 3.9",
            "scaled: 3 minutes",
        ),
    ),
    *_entries(
        "Wong 2020",
        (
            "provable-plane",
            "standard and provable training of points in the plane",
            "Fig 3.3",
            "scaled: 1 minute",
        ),
        (
            "provable-polytopes",
            "outer bounds of the adversarial polytope",
            "Fig 3.4, Eqs 3.30, 3.31",
            "scaled: seconds",
        ),
        (
            "provable-radii",
            "certified radii, index sets, detector",
            "Cor. 2, Figs 3.7, 3.11",
            "scaled: 4 minutes",
        ),
    ),
    *_entries(
        "Liu 2022",
        ("nonuniform-voronoi", "certified boxes in the plane", "Fig 3.3", "scaled: 1 minute"),
        (
            "nonuniform-volumes",
            "certified regions with one radius per pixel",
            "Tables 3.2, 3.3, Fig 3.4",
            "scaled: 15 minutes; published: days",
        ),
        (
            "nonuniform-maps",
            "bounding maps of ones against sevens",
            "Fig 3.5",
            "scaled: 10 minutes",
        ),
    ),
)
