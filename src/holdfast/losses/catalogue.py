"""The losses that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

LOSSES = Catalogue(
    "loss",
    Entry(
        name="ce",
        target="holdfast.losses.cross_entropy:CrossEntropy",
        summary="cross-entropy, precise also where the model is confident",
        source="Goodfellow et al. 2015, arXiv:1412.6572, sec 4",
        guarantee="equals torch's cross-entropy up to rounding",
    ),
    Entry(
        name="margin",
        target="holdfast.losses.margin:Margin",
        summary="largest other logit minus the label's",
        source="Carlini and Wagner 2017, arXiv:1608.04644, sec V.A (f6 without its floor)",
        guarantee="positive exactly where the model errs",
    ),
    Entry(
        name="dlr",
        target="holdfast.losses.dlr:DLR",
        summary="difference of logits ratio: the margin over the spread of the largest logits",
        source="Croce and Hein 2020, arXiv:2003.01690, eq 6 and 7",
        guarantee="positive exactly where the model errs; unchanged by scale and shift of logits",
    ),
)
