"""Published networks on real data give their published figures."""

import pytest

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.load import load_data
from holdfast.models.registry import build_model
from holdfast.models.store import load_weights
from holdfast.threats import Linf


def published(data_dir, name):
    model = build_model("mnist_conv")
    load_weights(model, data_dir / "models" / f"{name}.safetensors")
    return model


@pytest.mark.data
def test_the_fast_trained_mnist_network_has_its_clean_accuracy(data_dir):
    data = load_data("mnist", "test", data_dir=data_dir)
    model = published(data_dir, "mnist_conv_fgsm_linf0.3")
    found = evaluate(model, data, Linf(0.3), attacks="", bounds=())
    assert found.result["examples"] == 10_000
    assert found.clean_accuracy == 0.9850


@pytest.mark.data
@pytest.mark.slow
def test_the_dual_trained_mnist_network_is_bracketed(data_dir):
    """Of the first 200 images 193 are robust at 0.1, by a proof that needs tighter bounds."""
    data = load_data("mnist", "test", data_dir=data_dir, limit=200)
    model = published(data_dir, "mnist_conv_dual_linf0.1")
    found = evaluate(model, data, Linf(0.1), attacks="pgd-50-3")
    assert found.certified_accuracy <= 193 / 200 <= found.robust_accuracy
