import torch

from holdfast.models import build_model


def test_it_is_a_network_of_any_image_and_sees_far():
    net = build_model("holdfast.reproduce.dilated:dilated_conv", input_shape=(2, 24, 20), classes=5)
    x = torch.rand(3, 2, 24, 20, requires_grad=True)
    assert net(x).shape == (3, 5)
    (gradient,) = torch.autograd.grad(net[:5](x)[:, :, 3, 2].sum(), x)
    reached = gradient[0].abs().amax(0).nonzero()
    assert int(reached[:, 0].amax() - reached[:, 0].amin()) > 3 * 3
