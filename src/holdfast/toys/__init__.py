"""Worlds whose exact robustness is known by formula, or in which counterexamples are planted:
independent evidence for attacks and certificates, none of which this room imports."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "BlockAscent": ".block_ascent",
        "Constants": ".regret",
        "CoupledQuadratic": ".block_ascent",
        "InitialAlignment": ".relu_alignment",
        "LinearWorld": ".linear",
        "MultipleSignSearch": ".random_search",
        "PatchNet": ".relu_alignment",
        "PlantedWorld": ".planted",
        "Planting": ".planted",
        "Quadratic": ".random_search",
        "RandomStep": ".random_step",
        "RegretBound": ".regret",
        "SoftplusNet": ".random_search",
        "adaptive_bound": ".regret",
        "adaptive_steps": ".regret",
        "checkerboard": ".correlations",
        "constant_bound": ".regret",
        "constant_steps": ".regret",
        "count_windows": ".shapes",
        "most_windows": ".shapes",
        "multiple_update": ".updates",
        "rademacher_mean": ".correlations",
        "single_filter_alignment": ".relu_alignment",
        "square_update": ".updates",
        "train_planted": ".planted",
    },
)
