from holdfast.reproduce.pretraining_before import untuned
from holdfast.reproduce.pretraining_grid import REPRODUCTION
from holdfast.reproduce.regularisation_methods import MEASURES, pretrained


def test_it_names_the_network_that_it_measures():
    size = REPRODUCTION.size("quick")
    row = untuned(size, "RO -> none", pretrained(size, "RO"))
    assert row.to_dict() == {"row": "RO -> none", "computes": "accuracies of RO (pretraining)"}
    assert set(MEASURES) == set(REPRODUCTION.measures)
