"""The monitors that users can name; the cost is per look."""

from holdfast.core.catalogue import Catalogue, Entry

_HOME = "holdfast.training.monitors"

MONITORS = Catalogue(
    "monitor",
    Entry(
        name="catastrophic",
        target=f"{_HOME}.catastrophic:Catastrophic",
        summary="PGD accuracy on a training batch; ends training when it collapses",
        source="Wong 2020, sec 4.1.2; Andriushchenko 2024, sec 2.5; Liu 2022, sec 5.2",
        cost="one batch: 11 forwards, 8 backwards",
    ),
    Entry(
        name="robust-overfitting",
        target=f"{_HOME}.robust_overfitting:RobustOverfitting",
        summary="robust error on training and validation examples; best, final, difference",
        source="Rice, Wong and Kolter 2020, arXiv:2002.11569; Rice 2023, sec 2.3.2",
        cost="the attack's passes on two subsets",
    ),
    Entry(
        name="alignment",
        target=f"{_HOME}.alignment:Alignment",
        summary="how little input gradients turn inside the threat",
        source="Andriushchenko and Flammarion 2020, arXiv:2007.02617",
        cost="one batch: 2 forwards, 2 backwards",
    ),
    Entry(
        name="linearization",
        target=f"{_HOME}.linearization:Linearization",
        summary="how far the loss is from linear over one step",
        source="Andriushchenko 2024, sec 2.10.1",
        cost="one batch: 4 forwards, 2 backwards",
    ),
    Entry(
        name="perturbations",
        target=f"{_HOME}.perturbations:PerturbationShape",
        summary="where perturbations end, and the cosine of one step with many",
        source="Wong 2020, sec 4.1.2, Fig 4.3; Andriushchenko 2024, sec 2.5",
        cost="one batch: 21 forwards and backwards",
    ),
    Entry(
        name="gradient-norms",
        target=f"{_HOME}.gradient_norms:GradientNorms",
        summary="norms of input gradients, and how unequal they are",
        source="Liu 2022, sec 5.2.3",
        cost="one batch: 1 forward, 1 backward",
    ),
    Entry(
        name="dead-layers",
        target=f"{_HOME}.dead_layers:DeadLayers",
        summary="ReLU units and layers that no example activates",
        source="Liu 2022, sec 4.2.3",
        cost="one batch: 1 forward",
    ),
    Entry(
        name="loss-surface",
        target=f"{_HOME}.loss_surface:LossSurface",
        summary="the loss over a slice of the input space, written when it becomes distorted",
        source="Liu 2022, sec 5.2, Fig 5.5",
        cost="32 examples: 122 forwards, 1 backward",
    ),
)
