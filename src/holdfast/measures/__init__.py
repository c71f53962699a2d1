"""Measures: numbers of a model on examples. `Accuracy` counts right answers, clean or under an
attack; `Queries` counts what black-box attacks asked; the others look at the loss around examples
(alignment, linearisation, perturbations, surface) and into the network (dead units, filters).
`MEASURES` lists what can be named."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Accuracy": ".accuracy",
        "Columns": ".columns",
        "DeadUnits": ".dead_layers",
        "GradientAlignment": ".gradient_alignment",
        "GradientNorms": ".gradient_norms",
        "LinearizationError": ".linearization",
        "LossRatio": ".perturbations",
        "LossSurface": ".loss_surface",
        "MEASURES": ".catalogue",
        "NoiseGain": ".filters",
        "PerturbationCosine": ".perturbations",
        "Perturbations": ".perturbations",
        "Queries": ".queries",
        "Sums": ".accuracy",
        "ablated": ".filters",
        "any_of": ".queries",
        "cosines": ".gradient_alignment",
        "feature_maps": ".filters",
        "filter_norms": ".filters",
        "grown": ".filters",
        "heterogeneity_ratio": ".gradient_norms",
        "on_common": ".queries",
    },
)
