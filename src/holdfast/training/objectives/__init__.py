"""Objectives: what training minimises, one file each, as frozen records of hyperparameters with the
verb `loss`. They never step an optimiser; `OBJECTIVES` lists them."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "CLP": ".logit_pairing",
        "FGSMRS": ".fgsm_rs",
        "Free": ".free",
        "IBP": ".interval",
        "LSQ": ".logit_pairing",
        "OBJECTIVES": ".catalogue",
        "Objective": ".protocol",
        "PGDAT": ".pgd_at",
        "Passes": ".protocol",
        "Standard": ".standard",
        "YOPO": ".yopo",
    },
)
