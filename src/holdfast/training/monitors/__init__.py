"""Monitors: what is looked at while training goes on, and may end it.

A monitor is a frozen record with one verb, `look`, see `protocol`; recipes name them under
`training.monitors`. Their figures are recorded beside those of the loop, their warnings in the
result, and what they ask for (`stop`, `rollback`) is done by `training.watch`.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Alignment": ".alignment",
        "Catastrophic": ".catastrophic",
        "DeadLayers": ".dead_layers",
        "GradientNorms": ".gradient_norms",
        "Linearization": ".linearization",
        "LossSurface": ".loss_surface",
        "MONITORS": ".catalogue",
        "Monitor": ".protocol",
        "PerturbationShape": ".perturbations",
        "Reading": ".protocol",
        "RobustOverfitting": ".robust_overfitting",
        "Scene": ".protocol",
    },
)
