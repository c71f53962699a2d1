import pytest
import torch

from holdfast.training.range_test import RangeTest
from holdfast.training.rates import range_test_of
from training.tiny import examples, network, recipe, weights


def test_a_recipe_is_tested_on_its_own_data_and_objective():
    net = network(norm=True, dropout=0.3)
    before = weights(net)
    test = RangeTest(low=1e-4, high=50.0, steps=40, window=3)
    found = range_test_of(recipe("fgsm-rs"), test, data=examples(29), model=net, device="cpu")
    assert torch.equal(weights(net), before)
    again = range_test_of(recipe("fgsm-rs"), test, data=examples(29), model=net, device="cpu")
    assert found == again
    assert 1e-4 < found.suggestion < 50
    other = range_test_of(recipe("standard"), test, data=examples(29), model=net, device="cpu")
    assert other.losses != found.losses


def test_the_optimiser_is_the_recipes_and_the_network_that_is_named():
    what = recipe(training={"optimizer": {"kind": "sgd", "momentum": 0.0}})
    found = range_test_of(what, data=examples(29), device="cpu")
    test = RangeTest(optimizer=what.training.optimizer)
    assert found == range_test_of(what, test, data=examples(29), device="cpu")
    assert found.rates[0] == pytest.approx(1e-4)
