import pytest
import torch
from torch import nn

from holdfast.models.initialise import initialise
from holdfast.models.registry import build_model


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(8, 64, 5), nn.ReLU(), nn.Conv2d(64, 48, 3), nn.Linear(900, 70))


def deviation(tensor: torch.Tensor) -> float:
    return float(tensor.detach().std())


@pytest.fixture
def drawn():
    """The network before and after each scheme, on one fixed stream."""

    def make(scheme):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return initialise(net(), scheme)

    return make


def test_fan_out_has_the_variance_two_over_kernel_and_outputs(drawn):
    # 12,800 and 27,648 draws: the relative error of a deviation is below 1% at 2 sigma
    model = drawn("fan-out")
    assert deviation(model[0].weight) == pytest.approx((2 / (25 * 64)) ** 0.5, rel=0.03)
    assert deviation(model[2].weight) == pytest.approx((2 / (9 * 48)) ** 0.5, rel=0.03)
    assert not model[0].bias.any()
    assert not model[2].bias.any()


def test_fan_out_leaves_linear_layers_to_the_framework(drawn):
    # uniform on +-1/sqrt(in): its deviation is that over sqrt(3)
    model = drawn("fan-out")
    assert deviation(model[3].weight) == pytest.approx((1 / 2700) ** 0.5, rel=0.03)
    assert model[3].bias.any()


def test_he_has_the_variance_two_over_inputs_in_linear_layers(drawn):
    model = drawn("he")
    assert deviation(model[3].weight) == pytest.approx((2 / 900) ** 0.5, rel=0.03)
    assert not model[3].bias.any()
    assert deviation(model[0].weight) == pytest.approx((2 / (25 * 64)) ** 0.5, rel=0.03)


def test_the_framework_scheme_draws_nothing(drawn):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        plain = net()
    torch.testing.assert_close(drawn("framework")[0].weight, plain[0].weight, rtol=0, atol=0)


def test_networks_without_a_linear_bias_are_initialised_too():
    model = build_model("resnet34", width=2, head_bias=False, init="he")
    assert deviation(model.linear.weight) == pytest.approx((2 / 16) ** 0.5, rel=0.3)
