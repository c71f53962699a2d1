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
)
