"""Objectives: what training minimises, one file each, as frozen records of hyperparameters with the
verb `loss`. They never step an optimiser; `OBJECTIVES` lists them."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "ALP": ".logit_pairing",
        "AR": ".adversarial_regularization",
        "ATAS": ".atas",
        "ATTA": ".atta",
        "AdaptiveTargets": ".adaptive_targets",
        "AdversarialWeightPerturbation": ".awp",
        "CLP": ".logit_pairing",
        "CURE": ".cure",
        "CornerPGDAT": ".corner_pgd",
        "FGSMDropout": ".fgsm_dropout",
        "FGSMRS": ".fgsm_rs",
        "Free": ".free",
        "GAIRAT": ".gairat",
        "GradAlign": ".grad_align",
        "GradientPenalty": ".gradient_penalty",
        "IAT": ".iat",
        "IBP": ".interval",
        "LLR": ".llr",
        "LSQ": ".logit_pairing",
        "MART": ".mart",
        "Mixup": ".mixup",
        "OBJECTIVES": ".catalogue",
        "Objective": ".protocol",
        "PGDAT": ".pgd_at",
        "Passes": ".protocol",
        "Penalised": ".penalised",
        "ReweightedTuning": ".reweighted_tuning",
        "SAT": ".sat",
        "Standard": ".standard",
        "Switch": ".fgsm_then_pgd",
        "TRADES": ".trades",
        "YOPO": ".yopo",
    },
)
