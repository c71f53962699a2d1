"""Networks of torchvision and timm, by their own names, through the `vision` extra.

Activations that work in place are switched to copies, so that hooks, certification and functional
calls see every value.
"""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from holdfast.core.errors import InputError, unknown_name
from holdfast.core.optional import optional
from holdfast.models.options import Classes, ImageShape, constructor, reason


@constructor
def torchvision(
    *,
    input_shape: ImageShape = (3, 224, 224),
    classes: Classes = 1000,
    arch: str = "resnet50",
    pretrained: bool = False,
) -> nn.Module:
    """A classification network of torchvision.

    Args:
        arch: torchvision's name, such as `resnet50` or `vgg16_bn`.
        pretrained: its default weights, downloaded by torchvision where they are not in its cache;
            they expect `normalize="imagenet"`.

    Raises:
        MissingExtra: torchvision cannot be imported.
        InputError: an unknown `arch`, or torchvision cannot make it.
    """
    models = optional("torchvision.models", extra="vision")
    _known(arch, models.list_models())
    if input_shape[0] != 3:
        raise InputError("input_shape", input_shape, "is not RGB", "torchvision asks for (3, H, W)")
    weights = "DEFAULT" if pretrained else None
    return _made(arch, lambda: models.get_model(arch, weights=weights, num_classes=classes))


@constructor
def timm(
    *,
    input_shape: ImageShape = (3, 224, 224),
    classes: Classes = 1000,
    arch: str = "resnet50",
    pretrained: bool = False,
) -> nn.Module:
    """A network of timm.

    Args:
        arch: timm's name, such as `resnet50` or `convnext_tiny`.
        pretrained: its default weights, downloaded by timm where they are not in its cache.

    Raises:
        MissingExtra: timm cannot be imported.
        InputError: an unknown `arch`, or timm cannot make it.
    """
    library = optional("timm", extra="vision")
    _known(arch, library.list_models())
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": classes}
    options["in_chans"] = input_shape[0]
    return _made(arch, lambda: library.create_model(arch, **options))


def _known(arch: str, names: Iterable[str]) -> None:
    names = list(names)
    if arch not in names:
        raise unknown_name("arch", arch, names)


def _made(arch: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        model = make()
    except Exception as cause:
        problem = f"cannot be made ({reason(cause)})"
        raise InputError("arch", arch, problem, "check classes and pretrained") from cause
    for module in model.modules():
        if getattr(module, "inplace", None) is True:
            module.inplace = False  # type: ignore[assignment]
    return model
