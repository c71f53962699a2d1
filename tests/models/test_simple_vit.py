import math

import pytest
import torch

from holdfast.core.errors import InputError
from holdfast.models.description import parameter_count
from holdfast.models.simple_vit import Attention, patches, simple_vit, sine_positions


def tiny(**options):
    return simple_vit(dim=8, depth=2, heads=3, head_dim=5, mlp_dim=7, classes=5, **options)


def test_the_published_size():
    assert parameter_count(simple_vit()) == 18_927_114


def test_patches_hold_the_pixels_of_their_square():
    x = torch.rand(3, 2, 8, 12)
    cut = patches(x, 4)
    assert cut.shape == (3, 6, 32)
    square = x[:, :, 4:8, 8:12].permute(0, 2, 3, 1).flatten(1)
    assert torch.equal(cut[:, 5], square)


def test_positions_have_the_closed_form():
    codes = sine_positions(2, 3, 12)
    assert codes.shape == (6, 12)
    row, column, frequency = 1, 2, 10_000.0 ** (-1 / 2)
    expected = [math.sin(column), math.sin(column * frequency)]
    torch.testing.assert_close(codes[5, :2], torch.tensor(expected))
    torch.testing.assert_close(codes[5, 9], torch.tensor(math.cos(row)))


def test_attention_is_the_softmax_average_of_values():
    block = Attention(4, 2, 3)
    tokens = torch.randn(3, 5, 4)
    query, key, value = block.to_qkv(block.norm(tokens)).chunk(3, dim=-1)
    heads = []
    for h in range(2):
        part = slice(3 * h, 3 * h + 3)
        scores = query[..., part] @ key[..., part].transpose(1, 2) / math.sqrt(3)
        heads.append(scores.softmax(-1) @ value[..., part])
    torch.testing.assert_close(block(tokens), block.to_out(torch.cat(heads, dim=-1)))


def test_it_runs_and_knows_where_a_patch_stands():
    model = tiny(input_shape=(2, 8, 12))
    x = torch.rand(3, 2, 8, 12)
    assert model(x).shape == (3, 5)
    assert not torch.allclose(model(x), model(x.flip(3)))


def test_what_does_not_tile_is_refused():
    with pytest.raises(InputError, match="patch=5: does not divide"):
        tiny(input_shape=(2, 8, 12), patch=5)
    with pytest.raises(InputError, match="dim=6: is not a multiple of 4"):
        simple_vit(dim=6)
