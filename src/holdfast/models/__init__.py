"""The networks of the literature by name, normalisation inside the model, and checkpoints.

`build_model` makes a registered network or one of the user's own; `save_model`, `load_model` and
`load_weights` keep it as safetensors; `holdfast.models.convert` brings foreign pickles into that
form. Wrappers that hide gradients or are random (`InputQuantised`, `Saturated`, `Randomised`, ...)
are traps on which an evaluation is tested. The constructors themselves stand in files of their own
(`holdfast.models.mnist.mnist_conv`).
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Architecture": ".registry",
        "Binarize": ".layers",
        "Clamp": ".layers",
        "Description": ".description",
        "Detached": ".masked",
        "Ensemble": ".ensemble",
        "InnerOptimisation": ".purified",
        "InputQuantised": ".masked",
        "KWinners": ".masked",
        "MODELS": ".catalogue",
        "Metadata": ".store",
        "Normalize": ".normalize",
        "Normalized": ".normalize",
        "PostAveraged": ".randomised",
        "Probabilities": ".masked",
        "Purify": ".purified",
        "Quantise": ".masked",
        "Randomised": ".randomised",
        "Saturated": ".masked",
        "architecture_of": ".registry",
        "build_model": ".registry",
        "describe": ".description",
        "ensemble_of": ".ensemble",
        "hidden_units": ".description",
        "load_model": ".store",
        "load_weights": ".store",
        "parameter_count": ".description",
        "read_weights": ".store",
        "record": ".registry",
        "save_model": ".store",
        "save_weights": ".store",
        "weights_hash": ".weights",
    },
)
