"""What combines attacks and bounds: the two-sided evaluation and what is read from its runs."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Auto": ".auto",
        "AutoAttack": ".standard",
        "Board": ".protocol",
        "BoxDescent": ".verify_attack",
        "DEFAULT_PROTOCOL": ".evaluate",
        "Evaluation": ".result",
        "Flag": ".flags",
        "InputBox": ".verify_boxes",
        "InstanceTable": ".instances",
        "Listed": ".protocol",
        "PROTOCOLS": ".catalogue",
        "Progress": ".evaluate",
        "Protocol": ".protocol",
        "Replay": ".replay",
        "Splitting": ".verify",
        "Step": ".protocol",
        "VerifiedColumns": ".verified_columns",
        "VerifiedRow": ".verified_columns",
        "VerifyResult": ".verify",
        "as_protocol": ".evaluate",
        "read_instances": ".instances",
    },
)
