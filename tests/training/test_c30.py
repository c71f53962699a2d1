"""A robust network from scratch, in a fixed number of steps: see benchmarks/time_to_robust.py."""

import pytest
import torch

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.load import load_data
from holdfast.threats.text import parse
from holdfast.training.loop import train
from holdfast.training.recipe import load_recipe


@pytest.mark.slow
def test_one_epoch_on_cifar10_jpeg_reaches_30_per_cent_under_pgd(data_dir):
    recipe = load_recipe("cifar10-jpeg-c30")
    training = load_data(recipe.data.name, "train", data_dir=data_dir)
    test = load_data(recipe.data.name, "test", data_dir=data_dir, limit=1000)
    result = train(recipe, data=training, device="cpu")
    assert result.steps == 196  # one epoch of batches of 256
    attacks = recipe.evaluation.attacks[0]
    found = evaluate(result.model, test, parse(recipe.threat), attacks=attacks, bounds=()).result
    assert found["robust_accuracy"] >= 0.30
    assert found["clean_accuracy"] > found["robust_accuracy"] + 0.1
    assert torch.isfinite(torch.tensor(result.history[-1]["loss"]))
