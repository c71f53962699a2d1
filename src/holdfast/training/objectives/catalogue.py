"""The objectives that users can name; the cost is per example and step."""

from holdfast.core.catalogue import Catalogue, Entry

_HOME = "holdfast.training.objectives"
_INSIDE = "the inputs trained on lie in the threat"

OBJECTIVES = Catalogue(
    "objective",
    Entry(
        name="standard",
        target=f"{_HOME}.standard:Standard",
        summary="cross-entropy on clean inputs",
        cost="1 forward, 1 backward",
    ),
    Entry(
        name="pgd-at",
        target=f"{_HOME}.pgd_at:PGDAT",
        summary="adversarial training: a PGD attack, then the weight step at its result",
        source="Madry et al. 2018, arXiv:1706.06083; Wong 2020, sec 4.1",
        guarantee=_INSIDE,
        cost="N + 1 forwards and backwards for N attack steps",
    ),
    Entry(
        name="free",
        target=f"{_HOME}.free:Free",
        summary="free adversarial training: each batch several times, one backward for both steps",
        source="Shafahi et al. 2019, arXiv:1904.12843; Wong 2020, ch. 4, Alg. 6",
        guarantee=_INSIDE,
        cost="1 forward, 1 backward per replay",
    ),
    Entry(
        name="yopo",
        target=f"{_HOME}.yopo:YOPO",
        summary="YOPO-m-n: full passes shared by several steps through the first layer",
        source="Zhang et al. 2019, arXiv:1905.00877",
        guarantee=_INSIDE,
        cost="1 forward, 1 backward per round, and n passes of the first layer",
    ),
    Entry(
        name="fgsm-rs",
        target=f"{_HOME}.fgsm_rs:FGSMRS",
        summary="fast adversarial training: one step from a random start",
        source="Wong, Rice and Kolter 2020, arXiv:2001.03994; Wong 2020, sec 4.1.1",
        guarantee=_INSIDE,
        cost="2 forwards, 2 backwards",
    ),
    Entry(
        name="interval",
        target=f"{_HOME}.interval:IBP",
        summary="training on interval bounds, for models that can be certified",
        source="Gowal et al. 2018, arXiv:1810.12715; Liu 2022, sec 3.3.3",
        guarantee="without the clean part, an upper bound on the loss over the threat",
        cost="3 forwards, 3 backwards (two of each for the bounds)",
    ),
    Entry(
        name="clp",
        target=f"{_HOME}.logit_pairing:CLP",
        summary="clean logit pairing on noisy inputs; hides gradients and defends little",
        source="Kannan et al. 2018, arXiv:1803.06373; Andriushchenko 2024, Table 3.6",
        guarantee="none of robustness",
        cost="1 forward, 1 backward",
    ),
    Entry(
        name="lsq",
        target=f"{_HOME}.logit_pairing:LSQ",
        summary="logit squeezing on noisy inputs; hides gradients and defends little",
        source="Kannan et al. 2018, arXiv:1803.06373; Andriushchenko 2024, Table 3.6",
        guarantee="none of robustness",
        cost="1 forward, 1 backward",
    ),
)
