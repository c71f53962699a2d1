"""The networks that users can name, with their sources; the cost is the number of parameters."""

from holdfast.core.catalogue import Catalogue, Entry


def _entry(name: str, file: str, parameters: int | None, summary: str, source: str) -> Entry:
    return Entry(
        name=name,
        target=f"holdfast.models.{file}:{name}",
        summary=summary,
        source=source,
        cost=f"{parameters:,} parameters" if parameters else "depends on arch",
    )


_WONG = "Wong 2020, sec 3.5.1, Table 3.4"
_LIU = "Liu 2022, Table 4.1"

MODELS = Catalogue(
    "model",
    _entry("digits_conv", "mnist", 41_866, "conv 16-32, FC 64, for 8x8 digits", "holdfast"),
    _entry("mnist_conv", "mnist", 166_406, "conv 16-32 strided, FC 100", "Wong 2020, sec 3.3"),
    _entry("mnist_maxpool", "mnist", 3_274_634, "conv 32-64 pooled, FC 1024", "Wong 2020, sec 5.4"),
    _entry(
        "mnist_strided", "mnist", 3_255_914, "conv 32-64 strided, FC 1024", "Rice 2023, sec 3.1.6"
    ),
    _entry("mlp", "mlp", 99_710, "fully connected, any hidden widths", "Liu 2022, sec 3.2.2"),
    _entry("fc1", "mlp", 814_090, "fully connected, one hidden layer", "Liu 2022, sec 3.3.4"),
    _entry("fc500", "mlp", 397_510, "fully connected, 500 hidden units", "Wong 2020, sec 3.3"),
    _entry("small", "provable", 166_406, "provable defence, Small", _WONG),
    _entry("large", "provable", 1_974_762, "provable defence, Large", _WONG),
    _entry("wide", "provable", 816_954, "provable defence, Wide(k)", "Wong 2020, sec 3.5.3"),
    _entry("deep", "provable", 85_902, "provable defence, Deep(k)", "Wong 2020, sec 3.5.3"),
    _entry("provable_resnet", "provable", 3_254_562, "provable defence, ResNet", _WONG),
    _entry("four_filter", "four_filter", 41_082, "conv 4, linear", "Andriushchenko 2024, sec 2.5"),
    _entry("lenet", "lenet", 3_274_634, "LeNet with a width factor", _LIU),
    _entry("vgg16", "vgg", 14_728_266, "VGG-16 with batch norm and a width factor", _LIU),
    _entry("speedrun_cnn", "speedrun", 498_104, "max-pooled groups 32-128-128", "Jordan 2024"),
    _entry("resnet18", "resnet", 11_173_962, "ResNet-18 for CIFAR, any width", _LIU),
    _entry(
        "resnet34", "resnet", 21_282_122, "ResNet-34 for CIFAR, any widths", "Liu 2022, Table 5.6"
    ),
    _entry("resnet50", "resnet", 23_520_842, "ResNet-50, CIFAR or ImageNet stem", "He et al. 2015"),
    _entry(
        "preact_resnet18", "preact", 11_172_170, "PreActResNet-18, any width", "Wong 2020, sec 4.2"
    ),
    _entry(
        "wide_resnet", "wide_resnet", 36_479_194, "WRN-depth-width", "Zagoruyko, Komodakis 2016"
    ),
    _entry("densenet", "densenet", 6_979_642, "DenseNet-depth-growth", "Huang et al. 2016"),
    _entry("simple_vit", "simple_vit", 18_927_114, "small vision transformer", "Beyer et al. 2022"),
    _entry("ensemble", "ensemble", 125_598, "log of the mean probabilities", "Liu 2022, sec 4.2.4"),
    _entry("torchvision", "vision", None, "any classifier of torchvision", "torchvision"),
    _entry("timm", "vision", None, "any network of timm", "timm"),
)
