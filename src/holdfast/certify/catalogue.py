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
    Entry(
        name="dual",
        target="holdfast.certify.linear:Dual",
        summary="linear bounds with parallel lines, from rows pulled back to the input",
        source="Wong and Kolter 2018, arXiv:1711.00851, Alg. 1; Weng et al. 2018, arXiv:1804.09699",
        guarantee="sound in float64 less a running rounding radius (mode rigorous)",
        cost="one pull per open unit and per open row",
    ),
    Entry(
        name="crown",
        target="holdfast.certify.linear:CROWN",
        summary="linear bounds with the lower slope of least area",
        source="Zhang et al. 2018, arXiv:1811.00866",
        guarantee="as dual",
        cost="as dual, and two pulls per unit that parallel lines leave open",
    ),
    Entry(
        name="crown-ibp",
        target="holdfast.certify.linear:CrownIBP",
        summary="intervals inside, CROWN's lines for the rows of the specification",
        source="Zhang et al. 2020, arXiv:1906.06316",
        guarantee="as dual",
        cost="3 forwards and one pull per open row",
    ),
    Entry(
        name="alpha-crown",
        target="holdfast.certify.alpha:AlphaCrown",
        summary="CROWN with optimised lower slopes of each row, the best bound kept",
        source="Xu et al. 2021, arXiv:2011.13824",
        guarantee="as dual; never below crown",
        cost="crown, and `steps` pulls with gradients per open row",
    ),
)
