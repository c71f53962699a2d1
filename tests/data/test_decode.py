import numpy as np
import pytest
from PIL import Image

from holdfast.core.errors import InputError
from holdfast.data.decode import ResizeCrop, decode, decode_all, is_jpeg

from .conftest import colours, encoded


def test_png_comes_back_exactly_channels_first():
    (pixels,) = colours(1)
    assert np.array_equal(decode(encoded(pixels), "it"), pixels.transpose(2, 0, 1))
    assert np.array_equal(decode(encoded(pixels[:, :, 0]), "it"), pixels[None, :, :, 0])


def test_many_keep_their_order():
    pixels = colours(150)
    files = [encoded(each) for each in pixels]
    images = decode_all(lambda row: (files[row], f"row {row}"), 150)
    assert np.array_equal(images.numpy(), pixels.transpose(0, 3, 1, 2))


def test_transparency_and_palettes_become_rgb(tmp_path):
    Image.fromarray(colours(1)[0]).convert("P").save(tmp_path / "a.png")
    Image.new("RGBA", (6, 7), (1, 2, 3, 255)).save(tmp_path / "b.png")
    assert decode(tmp_path / "a.png", "a").shape == (3, 7, 6)
    assert decode(tmp_path / "b.png", "b")[:, 0, 0].tolist() == [1, 2, 3]


def test_grey_joins_colour_and_colour_does_not_join_grey():
    pixels = colours(2)
    files = [encoded(pixels[0]), encoded(pixels[1, :, :, 0])]
    mixed = decode_all(lambda row: (files[row], f"row {row}"), 2)
    assert np.array_equal(mixed[1, 2].numpy(), pixels[1, :, :, 0])
    with pytest.raises(InputError, match="row 1: has colours, the first image has none"):
        decode_all(lambda row: (files[1 - row], f"row {row}"), 2)


def test_sizes_must_agree():
    files = [encoded(colours(1)[0]), encoded(colours(1, height=9)[0])]
    with pytest.raises(InputError, match="row 1: is 9x6, the first image 7x6"):
        decode_all(lambda row: (files[row], f"row {row}"), 2)


@pytest.mark.parametrize("content", [b"", b"not an image", encoded(colours(1, 40, 40)[0])[:900]])
def test_what_is_no_image_is_refused_in_one_line(content):
    with pytest.raises(InputError, match="row 3: is not a readable image") as caught:
        decode(content, "row 3")
    assert "\n" not in str(caught.value)


def test_the_first_bad_image_is_named_whatever_the_threads_do():
    good = encoded(colours(1)[0])
    for _ in range(5):
        with pytest.raises(InputError, match="row 70:"):
            decode_all(lambda row: (b"" if row in (70, 130, 199) else good, f"row {row}"), 200)


def test_resize_crop():
    image = Image.fromarray(colours(1, height=40, width=80)[0])
    assert ResizeCrop(resize=20, crop=12)(image).size == (12, 12)
    flat = Image.new("RGB", (50, 30), (9, 8, 7))
    assert np.array_equal(np.asarray(ResizeCrop(resize=16, crop=16)(flat))[5, 5], [9, 8, 7])
    with pytest.raises(InputError, match="crop=9: is above resize"):
        ResizeCrop(resize=8, crop=9)


def test_jpeg_is_known_by_its_first_bytes(tmp_path):
    (tmp_path / "a").write_bytes(encoded(colours(1)[0], "JPEG"))
    assert is_jpeg(tmp_path / "a")
    assert not is_jpeg(encoded(colours(1)[0]))
