"""The optimisers that users can name."""

from holdfast.core.catalogue import Catalogue, Entry

OPTIMIZERS = Catalogue(
    "optimizer",
    Entry(
        name="sgd",
        target="holdfast.training.optimizers:SGD",
        summary="stochastic gradient descent with momentum",
        source="Sutskever et al. 2013; Wong 2020, sec 4.3.4",
    ),
    Entry(
        name="adam",
        target="holdfast.training.optimizers:Adam",
        summary="Adam",
        source="Kingma and Ba 2015, arXiv:1412.6980",
    ),
    Entry(
        name="muon",
        target="holdfast.training.muon:Muon",
        summary="orthogonalised momentum for hidden weights, another optimiser for the others",
        source="Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/",
        cost="a few matrix products per weight and step, beside the gradient",
    ),
)
