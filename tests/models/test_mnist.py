import os
from pathlib import Path

import pytest
import torch

from holdfast.models.description import hidden_units, parameter_count
from holdfast.models.mnist import digits_conv, mnist_conv, mnist_maxpool, mnist_strided
from holdfast.models.store import load_weights

DATA = Path(os.environ.get("HOLDFAST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def test_the_small_network_has_the_published_size():
    assert parameter_count(mnist_conv()) == 166_406
    assert hidden_units(mnist_conv(), (1, 28, 28)) == 3136 + 1568 + 100
    assert parameter_count(mnist_conv(input_shape=(3, 32, 32))) == 214_918


def test_the_small_network_has_exactly_the_published_keys():
    assert {key.split(".")[0] for key in mnist_conv().state_dict()} == {"0", "2", "5", "7"}
    assert {key.split(".")[0] for key in mnist_conv(threshold=0.5).state_dict()} == set("0257")


def test_a_threshold_makes_the_network_blind_to_what_does_not_cross_it():
    model = mnist_conv(threshold=0.5)
    x = torch.rand(3, 1, 28, 28).round() * 0.4 + 0.3
    torch.testing.assert_close(model(x), model(x.round()), rtol=0, atol=0)


def test_activations_are_as_named():
    kinds = [type(each).__name__ for each in mnist_conv(activation="tanh")]
    assert kinds.count("Tanh") == 3
    assert "ReLU" not in kinds


def test_the_large_mnist_networks_have_the_sizes_of_their_layers():
    dense = 3136 * 1024 + 1024 + 1024 * 10 + 10
    assert parameter_count(mnist_maxpool()) == 25 * 32 + 32 + 25 * 32 * 64 + 64 + dense
    assert parameter_count(mnist_strided()) == 16 * 32 + 32 + 16 * 32 * 64 + 64 + dense


def test_the_clamp_makes_the_network_blind_to_what_lies_outside_the_box():
    x = torch.rand(3, 1, 28, 28) * 3 - 1
    clamped, bare = mnist_strided(clamp=True), mnist_strided()
    bare.load_state_dict(clamped.state_dict())
    torch.testing.assert_close(clamped(x), bare(x.clamp(0, 1)), rtol=0, atol=0)
    assert not torch.equal(clamped(x), bare(x))


def test_the_digits_network_scales_with_its_width():
    assert parameter_count(digits_conv()) == 160 + 8224 + 32_832 + 650
    assert digits_conv(width=4)(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert digits_conv(input_shape=(2, 7, 6), classes=5)(torch.rand(3, 2, 7, 6)).shape == (3, 5)


@pytest.mark.data
@pytest.mark.parametrize("name", ["standard", "fgsm_linf0.3", "dual_linf0.1"])
def test_the_published_networks_load(name):
    path = DATA / "models" / f"mnist_conv_{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path} is absent; set HOLDFAST_DATA")
    model = mnist_conv()
    before = model[0].weight.clone()
    load_weights(model, path)
    assert not torch.equal(model[0].weight, before)
    assert model(torch.rand(3, 1, 28, 28)).isfinite().all()
