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
        "MODELS": ".catalogue",
        "Architecture": ".registry",
        "architecture_of": ".registry",
        "build_model": ".registry",
        "record": ".registry",
        "Description": ".description",
        "describe": ".description",
        "hidden_units": ".description",
        "parameter_count": ".description",
        "Normalize": ".normalize",
        "Normalized": ".normalize",
        "Detached": ".masked",
        "InputQuantised": ".masked",
        "KWinners": ".masked",
        "Probabilities": ".masked",
        "Quantise": ".masked",
        "Saturated": ".masked",
        "InnerOptimisation": ".purified",
        "Purify": ".purified",
        "PostAveraged": ".randomised",
        "Randomised": ".randomised",
        "Binarize": ".layers",
        "Clamp": ".layers",
        "Metadata": ".store",
        "load_model": ".store",
        "load_weights": ".store",
        "read_weights": ".store",
        "save_model": ".store",
        "save_weights": ".store",
        "weights_hash": ".weights",
    },
)
