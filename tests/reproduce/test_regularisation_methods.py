import pytest
import torch

from holdfast.reproduce.regularisation_methods import (
    ar,
    lines_of_tuned,
    objective,
    pretrained,
    sizes,
    trades,
    tuned,
)


@pytest.mark.parametrize(
    ("method", "kind", "weight"),
    [("RO", "ar", 0.0), (trades(0.5), "trades", 0.5), (ar(1.0), "ar", 1.0)],
)
def test_names_say_the_objective(method, kind, weight):
    found = objective(method)
    assert (found["kind"], found["weight"]) == (kind, weight)


def test_tuning_starts_from_the_row_before():
    size = sizes(quick=1, scaled=1, published=1)[2]
    first = pretrained(size, trades(3.0))
    second = tuned(size, "both", first, "RO")
    assert (first.recipe, second.recipe) == ("cifar10-trades", "cifar10-ar")
    assert (second.after, first.measured) == (first.name, ())
    assert len(second.measured) == 4


def test_networks_that_were_only_pretrained_have_no_line():
    column = {"figure.clean_accuracy": torch.ones(1)}
    lines = lines_of_tuned({}, {"RO (pretraining)": column, "RO -> RO": column})
    assert lines == {"RO -> RO": {"clean_accuracy": 1.0}}
