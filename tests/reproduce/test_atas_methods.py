from holdfast.reproduce.atas_methods import ATAS, FREE, IMAGENET, method_row, objective, small_sizes


def test_methods_have_the_settings_of_their_data():
    assert (objective(FREE)["replays"], objective(FREE, IMAGENET)["replays"]) == (8, 4)
    assert (objective(ATAS)["offset"], objective(ATAS, IMAGENET)["offset"]) == (None, 0.1)


def test_free_training_has_a_third_of_the_epochs():
    size = small_sizes(quick=1, scaled=1)[1]
    free, plain = (method_row(size, method, method) for method in (FREE, ATAS))
    assert (free.changes["training.epochs"], plain.changes["training.epochs"]) == (4, 12)
