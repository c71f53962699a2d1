"""What certificates are made of, by name: bounds, estimates that prove nothing, radius searches."""

from holdfast.core.catalogue import Catalogue, Entry

BOUNDS = Catalogue(
    "bound",
    Entry(
        name="interval",
        target="holdfast.certify.bounds.interval:Interval",
        summary="interval bound propagation with the last layer merged into the specification",
        source="Gowal et al. 2018, arXiv 1810.12715; Liu 2022, Alg. 3.2",
        guarantee="sound in float64 less an a-priori rounding radius (mode rigorous)",
        cost="3 forwards (rigorous), 2 forwards (fast)",
    ),
    Entry(
        name="dual",
        target="holdfast.certify.bounds.linear:Dual",
        summary="linear bounds with parallel lines, from rows pulled back to the input",
        source="Wong and Kolter 2018, arXiv:1711.00851, Alg. 1; Weng et al. 2018, arXiv:1804.09699",
        guarantee="sound less a rounding radius (rigorous), for the float32 pass too (deployed)",
        cost="one pull per open unit and per open row",
    ),
    Entry(
        name="crown",
        target="holdfast.certify.bounds.linear:CROWN",
        summary="linear bounds with the lower slope of least area",
        source="Zhang et al. 2018, arXiv:1811.00866",
        guarantee="as dual",
        cost="as dual, and two pulls per unit that parallel lines leave open",
    ),
    Entry(
        name="crown-ibp",
        target="holdfast.certify.bounds.linear:CrownIBP",
        summary="intervals inside, CROWN's lines for the rows of the specification",
        source="Zhang et al. 2020, arXiv:1906.06316",
        guarantee="as dual",
        cost="3 forwards and one pull per open row",
    ),
    Entry(
        name="alpha-crown",
        target="holdfast.certify.bounds.alpha:AlphaCrown",
        summary="CROWN with optimised lower slopes of each row, the best bound kept",
        source="Xu et al. 2021, arXiv:2011.13824",
        guarantee="as dual; never below crown",
        cost="crown, and `steps` pulls with gradients per open row",
    ),
    Entry(
        name="forward",
        target="holdfast.certify.bounds.forward:Forward",
        summary="linear forms of the input pushed forward, for inputs of few coordinates",
        source="Xu et al. 2020, arXiv:2002.12920; Liu 2022, sec 3.3.1 and Alg. 3.1",
        guarantee="as dual, both ends",
        cost="n + 1 forwards for n inputs, twice for adaptive lines",
    ),
    Entry(
        name="forward-backward",
        target="holdfast.certify.bounds.mixed:ForwardBackward",
        summary="forward forms inside, CROWN's lines for the rows of the specification",
        source="Xu et al. 2020, arXiv:2002.12920",
        guarantee="as dual",
        cost="forward, and one pull per open row",
    ),
    Entry(
        name="interval-linear",
        target="holdfast.certify.bounds.mixed:IntervalLinear",
        summary="intervals inside, parallel lines for the rows of the specification",
        source="Liu 2022, sec 3.3.1",
        guarantee="as dual",
        cost="3 forwards and one pull per open row",
    ),
    Entry(
        name="lp",
        target="holdfast.certify.solvers.lp:LP",
        summary="the linear programme of the triangle relaxation, for rows that CROWN leaves open",
        source="Wong and Kolter 2018, arXiv:1711.00851, sec 3.1; Ehlers 2017, arXiv:1705.01320",
        guarantee="sound: rebuilt from multipliers in float64; never below crown unless plain",
        cost="crown, and one linear programme per open row",
    ),
    Entry(
        name="milp",
        target="holdfast.certify.solvers.milp:MILP",
        summary="exact minimum by mixed-integer programming, one binary per open unit",
        source="Tjeng et al. 2019, arXiv:1711.07356, Eq. 5-8",
        guarantee="exact up to the solver's tolerances, not a proof",
        cost="lp, and branch and bound per row that it leaves open",
    ),
    Entry(
        name="branch-and-bound",
        target="holdfast.certify.complete.branch_and_bound:BranchAndBound",
        summary="cuts at the signs of units, optimised multipliers in each part, up to a minute",
        source="Wang et al. 2021, arXiv:2103.06624; Bunel et al. 2020, arXiv:1909.06588",
        guarantee="as dual; decides every row, given time, where the threat is a box",
        cost="alpha-crown for every open unit, then products of matrices per part",
    ),
)

ESTIMATES = Catalogue(
    "estimate",
    Entry(
        name="projected",
        target="holdfast.certify.bounds.estimates:Projected",
        summary="boxes by medians of random projections, the dual bound of the rows",
        source="Wong 2020, sec 3.4.5, Theorem 4, Alg. 3",
        guarantee="none: an estimate",
        cost="r columns per layer",
    ),
    Entry(
        name="high-probability",
        target="holdfast.certify.bounds.estimates:HighProbability",
        summary="boxes by corrected geometric means, all valid with high probability",
        source="Wong 2020, sec 3.4.6, Eq. 3.92",
        guarantee="with probability 1 - failure over the keys",
        cost="m r columns per layer, one walk per layer",
    ),
)

_HELD = "a radius at which the certificate held; a proof where the bounds are"
SEARCHES = Catalogue(
    "radius search",
    Entry(
        name="bisection",
        target="holdfast.certify.radii.radius:Bisection",
        summary="certified radii by halving",
        source="Liu 2022, sec 3.3.2",
        guarantee=_HELD,
        cost="log2(range / precision) bounds",
    ),
    Entry(
        name="envelope",
        target="holdfast.certify.radii.envelope_search:EnvelopeSearch",
        summary="halving that the polyhedral envelope shortens",
        source="Liu 2022, Alg. 3.5",
        guarantee=_HELD,
        cost="at most those of bisection, all rows open",
    ),
    Entry(
        name="newton",
        target="holdfast.certify.radii.newton:Newton",
        summary="Newton's method on the certified margin, within a bracket",
        source="Wong 2020, Eq. 3.29",
        guarantee=_HELD,
        cost="6 to 14 bounds with gradients",
    ),
    Entry(
        name="secant",
        target="holdfast.certify.radii.secant:Secant",
        summary="secants on the certified margin and the envelope, within a bracket",
        guarantee=_HELD,
        cost="6 or 7 bounds",
    ),
)
