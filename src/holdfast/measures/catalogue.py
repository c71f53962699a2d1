"""The measures that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

MEASURES = Catalogue(
    "measure",
    Entry(
        name="accuracy",
        target="holdfast.measures.accuracy:Accuracy",
        summary="share of right answers, on clean inputs or under an attack",
        source="Wong 2020, sec 4.1",
        guarantee="under an attack, an upper bound on the robust accuracy of the examples",
        cost="one forward per example, or the attack's passes",
    ),
    Entry(
        name="gradient-alignment",
        target="holdfast.measures.gradient_alignment:GradientAlignment",
        summary="mean cosine of input gradients at x and at a random point of the threat",
        source="Andriushchenko and Flammarion 2020, arXiv:2007.02617; Andriushchenko 2024, Eq 2.5",
        guarantee="in [-1, 1]; 1 for linear losses; zero gradients count as 1 and are counted",
        cost="1 + samples forwards and backwards per example",
    ),
    Entry(
        name="gradient-norms",
        target="holdfast.measures.gradient_norms:GradientNorms",
        summary="norm of each example's input gradient",
        source="Huang et al. 2023, arXiv:2206.02417; Liu 2022, sec 5.2.3",
        cost="one forward and one backward per example",
    ),
    Entry(
        name="linearization-error",
        target="holdfast.measures.linearization:LinearizationError",
        summary="how far the loss is from linear at corners of the threat",
        source="Andriushchenko 2024, sec 2.10.1, Fig 2.10",
        guarantee="0 for a linear loss; at most (L/2)||delta||^2 for an L-smooth one",
        cost="2 forwards and one backward per example",
    ),
    Entry(
        name="perturbations",
        target="holdfast.measures.perturbations:Perturbations",
        summary="share of coordinates that an attack leaves at the boundary, inside, or at zero",
        source="Wong 2020, sec 4.1.2, Fig 4.3",
        guarantee="the shares add up to 1",
        cost="the attack's passes",
    ),
    Entry(
        name="perturbation-cosine",
        target="holdfast.measures.perturbations:PerturbationCosine",
        summary="mean cosine of the perturbations of FGSM and PGD",
        source="Andriushchenko 2024, sec 2.5, Fig 2.4",
        cost="both attacks' passes",
    ),
    Entry(
        name="loss-ratio",
        target="holdfast.measures.perturbations:LossRatio",
        summary="mean loss under PGD over mean loss under FGSM",
        source="Andriushchenko 2024, sec 2.5",
        cost="both attacks' passes and 2 forwards per example",
    ),
    Entry(
        name="dead-units",
        target="holdfast.measures.dead_layers:DeadUnits",
        summary="share of ReLU units that no example activates; dead layers, constant classifiers",
        source="Liu 2022, sec 4.2.3",
        guarantee="exact on the examples given",
        cost="one forward per example",
    ),
    Entry(
        name="loss-surface",
        target="holdfast.measures.loss_surface:LossSurface",
        summary="losses on the plane of the one-step and a random direction",
        source="Liu 2022, sec 5.2, Fig 5.5",
        cost="points^2 + 1 forwards and one backward per example",
    ),
    Entry(
        name="noise-gain",
        target="holdfast.measures.filters:NoiseGain",
        summary="how much more each filter answers to noise than to the image",
        source="Andriushchenko 2024, sec 2.5 and 2.10.2",
        cost="two convolutions per example",
    ),
)
