import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.measures.filters import (
    NoiseGain,
    ablated,
    feature_maps,
    filter_norms,
    grown,
)
from holdfast.measures.gradient_alignment import GradientAlignment
from holdfast.models.four_filter import four_filter
from holdfast.threats import Linf


def network(seed=0, classes=5):
    torch.manual_seed(seed)
    return four_filter(input_shape=(2, 7, 6), classes=classes).eval()


def test_norms_are_those_of_the_weights():
    net = network()
    norms = filter_norms(net)
    for i in range(4):
        assert norms.weights[i] == pytest.approx(float(net[0].weight[i].norm().detach()), rel=1e-6)
        columns = net[3].weight[:, 42 * i : 42 * (i + 1)]
        assert norms.outgoing[i] == pytest.approx(float(columns.norm().detach()), rel=1e-6)


def test_ablation_without_outgoing_weights_changes_nothing():
    net = network()
    with torch.no_grad():
        net[3].weight[:, 42:84] = 0.0
    x = torch.rand(3, 2, 7, 6)
    with torch.no_grad():
        assert torch.equal(ablated(net, 1)(x), net(x))
        assert not torch.equal(ablated(net, 2)(x), net(x))
    assert filter_norms(ablated(net, 2, 0)).weights[[0, 2]].tolist() == [0.0, 0.0]
    assert bool((filter_norms(net).weights > 0).all())


def test_ablation_restores_the_alignment_that_a_filter_destroys():
    net = network()
    laplace = torch.tensor([[0.0, -1.0, 0.0], [-1.0, 4.0, -1.0], [0.0, -1.0, 0.0]])
    net[0].padding_mode = "replicate"
    with torch.no_grad():
        net[0].weight.copy_(net[0].weight.abs())  # the others see the whole image alike
        net[0].bias.zero_()
        net[0].weight[3], net[0].bias[3] = laplace, -0.01  # blind to the image, not to noise
        net[3].weight[:, 126:] = 9.0 * net[3].weight[:, 126:].sign()
    x = torch.full((5, 2, 7, 6), 0.5)
    y, keys, threat = torch.arange(5), Keys.of(0, range(5)), Linf(10 / 255)
    measure = GradientAlignment()
    before, after = (
        measure.compute(measure.update(each, x, y, threat, keys=keys)).value
        for each in (net, ablated(net, 3))
    )
    assert before < 0.4
    assert after > 0.99
    gain = NoiseGain().update(net, x, y, threat, keys=keys)["gain"]
    assert gain.argmax(dim=1).tolist() == [3] * 5
    assert grown(network(), net) == 3


def test_the_noise_gain_is_by_definition():
    net, keys, threat = network(), Keys.of(0, range(3)), Linf(10 / 255, box=None)
    x, y = torch.rand(3, 2, 7, 6), torch.arange(3)
    sums = NoiseGain().update(net, x, y, threat, keys=keys)
    noise = threat.sample(x, keys=keys.fold("noise")) - x
    with torch.no_grad():
        answers = [nn.functional.conv2d(each, net[0].weight, padding=1) for each in (noise, x)]
    sizes = [each.flatten(2).norm(dim=2) for each in answers]
    assert torch.allclose(sums["gain"].float(), sizes[0] / sizes[1], rtol=1e-4)
    most = (sizes[0] / sizes[1]).amax(dim=1).mean()
    assert NoiseGain().compute(sums).value == pytest.approx(float(most), rel=1e-4)


def test_feature_maps_are_what_the_linear_layer_reads():
    net, x = network(), torch.rand(3, 2, 7, 6)
    with torch.no_grad():
        assert torch.allclose(net[3](feature_maps(net, x).flatten(1)), net(x))


def test_other_networks_are_refused():
    for model in (nn.Linear(3, 2), nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))):
        with pytest.raises(InputError, match="one convolution and one linear layer"):
            filter_norms(model)
    with pytest.raises(InputError, match="filters=4: is not a filter"):
        ablated(network(), 4)
    small = four_filter(input_shape=(2, 7, 6), classes=5, filters=3)
    with pytest.raises(InputError, match="are not 4"):
        grown(network(), small)
