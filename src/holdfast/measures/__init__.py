"""Measures: numbers of a model on examples. `Accuracy` counts right answers, clean or under an
attack; `Queries` counts what black-box attacks asked; `MEASURES` lists what can be named."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "MEASURES": ".catalogue",
        "Accuracy": ".accuracy",
        "Queries": ".queries",
        "Sums": ".accuracy",
        "any_of": ".queries",
        "on_common": ".queries",
    },
)
