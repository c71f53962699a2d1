"""Attacks search a threat for inputs that a model gets wrong: upper bounds on robust accuracy.

One file per attack, over one engine. Every attack is a frozen record of hyperparameters with the
verb `run(model, x, y, threat)`.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "APGD": ".apgd",
        "ATTACKS": ".catalogue",
        "Attack": ".attack",
        "FGSM": ".fgsm",
        "Finished": ".protocol",
        "GradientAttack": ".attack",
        "LockstepAttack": ".lockstep",
        "Oracle": ".lockstep",
        "PGD": ".pgd",
        "ScoreAttack": ".attack",
        "Tick": ".protocol",
        "apgd_ce": ".apgd",
        "apgd_dlr": ".apgd",
        "apgd_margin": ".apgd",
        "apgd_t": ".apgd",
        "approximate": ".bpda",
        "with_backward": ".bpda",
        "as_attacks": ".text",
        "fgsm_rs": ".fgsm",
        "name_of": ".text",
        "parse": ".text",
        "r_fgsm": ".fgsm",
    },
)
