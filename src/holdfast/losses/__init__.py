"""Losses that an attack maximises, one value per example: cross-entropy, logit margin, and the
difference of logits ratio, each with its targeted form. Here are the frozen objects that recipes
name; the functions behind them are in their files (`losses.margin.margin`, `losses.dlr.dlr`)."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DLR": ".dlr",
        "CrossEntropy": ".cross_entropy",
        "DIVERGENCES": ".divergence",
        "DivergenceFrom": ".divergence",
        "LOSSES": ".catalogue",
        "Loss": ".protocol",
        "Margin": ".margin",
    },
)
