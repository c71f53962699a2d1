"""Worlds whose exact robustness is known by formula: independent evidence for attacks and
certificates, none of which this room imports."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "LinearWorld": ".linear",
        "MultipleSignSearch": ".random_search",
        "Quadratic": ".random_search",
        "SoftplusNet": ".random_search",
        "checkerboard": ".correlations",
        "count_windows": ".shapes",
        "most_windows": ".shapes",
        "multiple_update": ".updates",
        "rademacher_mean": ".correlations",
        "square_update": ".updates",
    },
)
