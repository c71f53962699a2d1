import numpy as np

from holdfast.report.bounding_maps import bounding_maps, maps_figure


def test_every_image_has_a_row_and_every_model_a_column():
    images, maps = np.zeros((3, 1, 5, 4)), np.ones((3, 1, 5, 4))
    figure = maps_figure(images, {"vanilla": maps, "robust": 1 - maps}, (330, 356))
    assert len(figure.axes) == 9
    assert [axes.get_title() for axes in figure.axes[::3]] == ["image", "vanilla", "robust"]
    shown = [float(axes.images[0].get_array().max()) for axes in figure.axes]
    assert shown == [0, 0, 0, 1, 1, 1, 0, 0, 0]


def test_colour_images_have_grey_maps_of_the_channels_mean():
    images = np.zeros((1, 3, 5, 4))
    maps = np.stack([np.zeros((5, 4)), np.ones((5, 4)), np.full((5, 4), 0.5)])[None]
    figure = maps_figure(images, {"one": maps}, (220, 136))
    picture, bound = (axes.images[0].get_array() for axes in figure.axes)
    assert picture.shape == (5, 4, 3)
    assert bound.shape == (5, 4)
    assert np.allclose(bound, 0.5)


def test_the_drawing_shows_at_most_twelve():
    images = np.zeros((13, 1, 3, 3))
    found = bounding_maps(images, {"robust": images})
    assert found.alt == "12 images, each with its bounding map by robust."
    assert found.svg[0].count("<image") == 24
    assert "small certified radius" in found.caption
