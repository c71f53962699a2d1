from holdfast.reproduce.gradalign_methods import (
    ALIGNED,
    FGSM,
    FREE,
    PGD2_ALIGNED,
    SVHN,
    method_row,
    named,
    objective,
    sizes,
)


def test_alignment_has_the_weight_of_its_data():
    assert objective(ALIGNED)["weight"] == "cifar10"
    assert objective(ALIGNED, SVHN)["weight"] == "svhn"
    assert objective(PGD2_ALIGNED, SVHN)["weight"] == 0.5


def test_free_training_counts_its_replays():
    size = sizes(quick=1, scaled=1, published=1)[1]
    free, plain = method_row(size, FREE, 8), method_row(size, FGSM, 16)
    assert free.changes["training.epochs"] * 5 == plain.changes["training.epochs"] * 2
    assert (plain.name, plain.changes["threat"]) == ("FGSM, 16/255", "linf:16/255")
    assert named(FGSM, 4, SVHN) == "SVHN FGSM, 4/255"
