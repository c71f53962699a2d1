"""What combines attacks and bounds: the two-sided evaluation and what is read from its runs."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DEFAULT_ATTACKS": ".evaluate",
        "Evaluation": ".result",
        "Progress": ".evaluate",
    },
)
