"""Attacks search a threat for inputs that a model gets wrong: upper bounds on robust accuracy.

One file per attack, over one engine. Every attack is a frozen record of hyperparameters with the
verb `run(model, x, y, threat)`.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ATTACKS": ".catalogue",
        "Attack": ".attack",
        "FGSM": ".fgsm",
        "Finished": ".engine",
        "GradientAttack": ".attack",
        "PGD": ".pgd",
        "Tick": ".engine",
        "as_attacks": ".text",
        "fgsm_rs": ".fgsm",
        "name_of": ".text",
        "parse": ".text",
        "r_fgsm": ".fgsm",
    },
)
