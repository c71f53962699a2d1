"""The attacks that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

_SUCCESS = "success is re-checked on a fresh forward pass, inside the threat"

ATTACKS = Catalogue(
    "attack",
    Entry(
        name="fgsm",
        target="holdfast.attacks.fgsm:FGSM",
        summary="one steepest step of a full radius from the clean input",
        source="Goodfellow et al. 2015, arXiv:1412.6572",
        guarantee=_SUCCESS + "; exact for linear models in a ball without box",
        cost="at most 4 forwards, 1 backward",
    ),
    Entry(
        name="fgsm-rs",
        target="holdfast.attacks.fgsm:fgsm_rs",
        summary="one step of 1.25 radii from a random start",
        source="Wong, Rice and Kolter 2020, arXiv:2001.03994",
        guarantee=_SUCCESS,
        cost="at most 4 forwards, 1 backward",
    ),
    Entry(
        name="r-fgsm",
        target="holdfast.attacks.fgsm:r_fgsm",
        summary="half a radius along random signs, then half a radius along the gradient",
        source="Tramer et al. 2018, arXiv:1705.07204",
        guarantee=_SUCCESS,
        cost="at most 4 forwards, 1 backward",
    ),
    Entry(
        name="pgd",
        target="holdfast.attacks.pgd:PGD",
        summary="projected gradient descent with restarts; by name pgd-STEPS-RESTARTS[-STEP]",
        source="Madry et al. 2018, arXiv:1706.06083",
        guarantee=_SUCCESS + "; robust accuracy never rises with restarts",
        cost="at most R (S + 1) + 2 forwards, R S backwards",
    ),
    Entry(
        name="apgd-ce",
        target="holdfast.attacks.apgd:apgd_ce",
        summary="Auto-PGD on the cross-entropy: momentum, and a step size that follows the loss",
        source="Croce and Hein 2020, arXiv:2003.01690; L1: Croce and Hein 2021, arXiv:2103.01208",
        guarantee=_SUCCESS,
        cost="at most S + 3 forwards, S backwards for S = 100 steps",
    ),
    Entry(
        name="apgd-dlr",
        target="holdfast.attacks.apgd:apgd_dlr",
        summary="Auto-PGD on the difference of logits ratio",
        source="Croce and Hein 2020, arXiv:2003.01690",
        guarantee=_SUCCESS,
        cost="as apgd-ce",
    ),
    Entry(
        name="apgd-margin",
        target="holdfast.attacks.apgd:apgd_margin",
        summary="Auto-PGD on the logit margin, for any number of classes",
        source="Croce and Hein 2020, arXiv:2003.01690",
        guarantee=_SUCCESS,
        cost="as apgd-ce",
    ),
    Entry(
        name="apgd-t",
        target="holdfast.attacks.apgd:apgd_t",
        summary="Auto-PGD on the targeted DLR loss; by name apgd-t-TARGETS-STEPS",
        source="Croce and Hein 2020, arXiv:2003.01690, sec 6",
        guarantee=_SUCCESS,
        cost="T times that of apgd-ce for T = 9 targets",
    ),
)
