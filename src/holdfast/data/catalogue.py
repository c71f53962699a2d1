"""The data sets and augmentations that users can name; imports no torch."""

from holdfast.core.catalogue import Catalogue, Entry

DATASETS = Catalogue(
    "data",
    Entry(
        name="digits",
        target="holdfast.data.digits:DIGITS",
        summary="1,797 grey 8x8 images of handwritten digits, embedded: no file, no download",
        source="Alpaydin and Kaynak 1998, UCI optical recognition; through scikit-learn",
        guarantee="train 1,297 and test 500, a fixed function of a seed; 17 levels",
    ),
    Entry(
        name="mnist",
        target="holdfast.data.sets:MNIST",
        summary="60,000 + 10,000 grey 28x28 images of handwritten digits",
        source="LeCun, Bottou, Bengio and Haffner 1998",
    ),
    Entry(
        name="fashion-mnist",
        target="holdfast.data.sets:FASHION_MNIST",
        summary="60,000 + 10,000 grey 28x28 images of clothing",
        source="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747",
    ),
    Entry(
        name="cifar10",
        target="holdfast.data.sets:CIFAR10",
        summary="50,000 + 10,000 colour 32x32 images of 10 classes",
        source="Krizhevsky 2009",
    ),
    Entry(
        name="cifar10-jpeg",
        target="holdfast.data.sets:CIFAR10_JPEG",
        summary="CIFAR-10 compressed with JPEG: close to the original, not equal; local files only",
        source="Krizhevsky 2009",
        guarantee="reported as CIFAR-10 (JPEG)",
    ),
    Entry(
        name="cifar100",
        target="holdfast.data.sets:CIFAR100",
        summary="50,000 + 10,000 colour 32x32 images of 100 classes (fine labels)",
        source="Krizhevsky 2009",
    ),
    Entry(
        name="cinic10",
        target="holdfast.data.cinic10:CINIC10",
        summary="3 x 90,000 colour 32x32 images of CIFAR-10's classes; local files only",
        source="Darlow et al. 2018, arXiv:1810.03505",
        guarantee="splits train, valid, test and train+valid; labels of CIFAR-10",
    ),
    Entry(
        name="cinic10-enlarged",
        target="holdfast.data.cinic10:CINIC10_ENLARGED",
        summary="CINIC-10 whose training split is train and valid together",
        source="Zhang 2019, sec 3.1",
    ),
    Entry(
        name="cinic10-imagenet",
        target="holdfast.data.cinic10:CINIC10_IMAGENET",
        summary="the enlarged CINIC-10 without the images of CIFAR-10",
        source="Zhang 2019, sec 3.1",
        guarantee="no file of CIFAR-10, by the names of files",
    ),
    Entry(
        name="svhn",
        target="holdfast.data.sets:SVHN",
        summary="73,257 + 26,032 colour 32x32 images of house numbers, and 531,131 easier extra",
        source="Netzer et al. 2011",
        guarantee="the label 10 of the original files is the digit 0",
    ),
)

AUGMENTATIONS = Catalogue(
    "augmentation",
    Entry(
        name="pad-crop",
        target="holdfast.data.augment:PadCrop",
        summary="pad every side and crop a window of the old size at a random place",
        source="Wong 2020, ch. 4; Rice 2023, ch. 2",
        guarantee="invertible on the pixels that stay visible",
    ),
    Entry(
        name="flip",
        target="holdfast.data.augment:Flip",
        summary="mirror left and right with probability p",
        guarantee="its own inverse",
    ),
    Entry(
        name="cutout",
        target="holdfast.data.augment:Cutout",
        summary="zero a square patch at a random place",
        source="DeVries and Taylor 2017, arXiv:1708.04552",
        guarantee="identity outside the patch",
    ),
)
