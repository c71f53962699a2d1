"""The bounds that a recipe or the command can name."""

from holdfast.core.catalogue import Catalogue, Entry

BOUNDS = Catalogue(
    "bound",
    Entry(
        name="interval",
        target="holdfast.certify.interval:Interval",
        summary="interval bound propagation with the last layer merged into the specification",
        source="Gowal et al. 2018, arXiv 1810.12715; Liu 2022, Alg. 3.2",
        guarantee="sound in float64 less an a-priori rounding radius (mode rigorous)",
        cost="3 forwards (rigorous), 2 forwards (fast)",
    ),
)
