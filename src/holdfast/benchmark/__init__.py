"""What combines attacks and bounds: the two-sided evaluation and what is read from its runs."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AutoAttack": ".standard",
        "Board": ".protocol",
        "DEFAULT_PROTOCOL": ".evaluate",
        "Evaluation": ".result",
        "Flag": ".flags",
        "Listed": ".protocol",
        "PROTOCOLS": ".catalogue",
        "Progress": ".evaluate",
        "Protocol": ".protocol",
        "Step": ".protocol",
        "as_protocol": ".evaluate",
    },
)
