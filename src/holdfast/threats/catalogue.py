"""The threats that users can name in the command, in recipes and in records."""

from holdfast.core.catalogue import Catalogue, Entry

_EXACT = "projection, support and steepest step are exact, for the ball intersected with the box"

THREATS = Catalogue(
    "threat",
    Entry(
        name="linf",
        target="holdfast.threats.balls:Linf",
        summary="every feature may move by the radius: linf:8/255",
        source="Goodfellow et al. 2015, arXiv 1412.6572; Wong 2020, sec 2.1.1",
        guarantee=_EXACT,
        cost="projection in 4 elementwise kernels",
    ),
    Entry(
        name="l2",
        target="holdfast.threats.balls:L2",
        summary="the Euclidean length of the change is at most the radius: l2:0.5",
        source="Wong 2020, sec 2.1.1 and 5.3.3",
        guarantee=_EXACT,
        cost="projection by an active-set Newton method, a few passes over the features",
    ),
    Entry(
        name="l1",
        target="holdfast.threats.balls:L1",
        summary="the absolute changes add up to at most the radius: l1:12",
        source="Wong 2020, sec 5.3.3; Duchi et al. 2008",
        guarantee=_EXACT,
        cost="projection by a safeguarded Newton method, about ten passes over the features",
    ),
)
