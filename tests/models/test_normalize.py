import numpy
import pytest
import torch
from torch import nn

from holdfast.core.errors import InputError
from holdfast.models.normalize import STATISTICS, Normalize, Normalized, plain

B, C, H, W, F = 3, 2, 7, 6, 5


def test_images_are_normalised_channel_by_channel():
    mean, std = [0.4, 0.6], [0.5, 0.2]
    x = torch.rand(B, C, H, W)
    y = Normalize(mean, std)(x)
    for c in range(C):
        torch.testing.assert_close(y[:, c], (x[:, c] - mean[c]) / std[c])


def test_vectors_and_sequences_are_normalised_along_their_second_axis():
    mean, std = torch.rand(F), torch.rand(F) + 0.5
    for shape in ((B, F), (B, F, W), (B, F, 2, H, W)):
        x = torch.rand(shape)
        ours = Normalize(mean, std)(x).movedim(1, -1)
        torch.testing.assert_close(ours, (x.movedim(1, -1) - mean) / std)


def test_one_number_serves_every_shape():
    for shape in ((B, F), (B, C, H, W)):
        x = torch.rand(shape)
        for mean in (0.5, [0.5]):
            torch.testing.assert_close(Normalize(mean, 0.25)(x), 4 * x - 2)


def test_a_statistic_may_have_the_shape_of_an_example():
    x, mean = torch.rand(B, C, H, W), torch.rand(C, H, W)
    torch.testing.assert_close(Normalize(mean, 1.0)(x), x - mean)


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        (0.5, 0.0, "std=0.0: is not positive"),
        (0.5, [0.5, -1.0], "std=[0.5, -1.0]: is not positive"),
        (float("nan"), 1.0, "mean=nan: is empty or not finite"),
        ([], 1.0, "mean=[]: is empty or not finite"),
        ("a", 1.0, "mean='a': is not a list of numbers"),
        ([0.1, 0.2], [1.0, 1.0, 1.0], "std=[1.0, 1.0, 1.0]: does not fit"),
    ],
)
def test_statistics_are_validated(mean, std, said):
    with pytest.raises(InputError) as error:
        Normalize(mean, std)
    assert str(error.value).startswith(said)


def test_an_input_of_other_channels_is_refused_and_not_broadcast():
    layer = Normalize([0.1, 0.2, 0.3], 1.0)
    for shape in ((B, 1, H, W), (B, 2, H, W), (B, 5), (3,)):
        with pytest.raises(InputError, match="does not fit 3 statistics"):
            layer(torch.rand(shape))


def test_statistics_are_buffers_and_follow_the_type():
    layer = Normalize([0.1, 0.2], [1.0, 2.0])
    assert [name for name, _ in layer.named_buffers()] == ["mean", "std"]
    assert not list(layer.parameters())
    assert layer.double()(torch.rand(B, C, H, W).double()).dtype == torch.float64
    assert "mean=(0.1, 0.2)" in repr(layer)


def test_a_normalised_network_sees_normalised_inputs():
    net = nn.Sequential(nn.Flatten(), nn.Linear(C * H * W, F))
    x = torch.rand(B, C, H, W)
    model = Normalized(Normalize([0.4, 0.6], [0.5, 0.2]), net)
    torch.testing.assert_close(model(x), net(Normalize([0.4, 0.6], [0.5, 0.2])(x)))
    model.net.load_state_dict(net.state_dict())


def test_plain_statistics_are_short_and_read_back_to_the_same_bits():
    for mean, std in STATISTICS.values():
        assert plain(Normalize(mean, std).mean) == mean
    values = torch.rand(1000)
    again = torch.from_numpy(numpy.array(plain(values), dtype=numpy.float32))
    assert torch.equal(again, values)
