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
    Entry(
        name="l0",
        target="holdfast.threats.l0:L0",
        summary="so many features (or pixels, per=pixel) change, each within the box: l0:5",
        source="Croce and Hein 2019, arXiv 1909.05040",
        guarantee="projection and support are exact, for the count intersected with the box",
        cost="projection by one sort of the features",
    ),
    Entry(
        name="spatial",
        target="holdfast.threats.spatial:Spatial",
        summary="an image is rotated, shifted, scaled, flipped or cropped: spatial:rot=30,shift=3",
        source="Engstrom et al. 2019, arXiv 1712.02779; Rice 2023, sec 3.1.6",
        guarantee="identity, flip and whole-pixel shifts are exact; membership re-applies the "
        "parameters",
        cost="one bilinear warp",
    ),
    Entry(
        name="gaussian",
        target="holdfast.threats.noise:Gaussian",
        summary="normal noise of this standard deviation, clipped to the box: gaussian:0.1",
        source="Rice 2023, sec 3.2",
        guarantee="draws are in the box",
        cost="one draw",
    ),
    Entry(
        name="uniform-linf",
        target="holdfast.threats.noise:UniformLinf",
        summary="noise uniform in the Linf ball, clipped to the box: uniform-linf:8/255",
        source="Rice 2023, sec 3.1.6",
        guarantee="draws are in the ball and the box",
        cost="one draw",
    ),
    Entry(
        name="uniform-l2",
        target="holdfast.threats.noise:UniformL2",
        summary="noise uniform in volume in the L2 ball, clipped to the box: uniform-l2:0.5",
        source="standard: a Gaussian direction of length eps U^(1/n)",
        guarantee="draws are in the ball and the box",
        cost="one draw",
    ),
    Entry(
        name="salt-pepper",
        target="holdfast.threats.noise:SaltAndPepper",
        summary="a share of the features jumps to an end of the box: salt-pepper:0.05",
        source="Hendrycks and Dietterich 2019, arXiv 1903.12261",
        guarantee="draws are in the box",
        cost="one draw",
    ),
)
