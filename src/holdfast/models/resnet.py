"""Residual networks in their CIFAR form, of any width: ResNet-18, -34 and -50.

A 3x3 stem of stride 1, four stages of strides 1, 2, 2, 2, batch norm after every convolution, 1x1
convolution shortcuts where a stage changes the shape, global average pooling, one linear layer.
Names of parameters are those of the field's CIFAR checkpoints (`conv1`, `layer1.0.bn1`,
`layer2.0.shortcut.0`, `linear`).

Source: He et al. 2015, arXiv:1512.03385; Liu 2022, Table 4.1 (its width
factor w is `width = 4 w`); Liu 2022, Table 5.6 (RN34, its small variants, and
batch norm on the logits). `init="he"` and `norm="group"` are the variants of Andriushchenko 2024.
"""

from typing import Literal

from torch import Tensor, nn

from holdfast.core.errors import InputError
from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor

NormKind = Literal["batch", "group"]
Stem = Literal["cifar", "imagenet"]
Widths = tuple[Count, Count, Count, Count]


def norm_layer(kind: NormKind, channels: int, groups: int, *, affine: bool = True) -> nn.Module:
    """Batch norm, or group norm with the given number of groups, which must divide the channels."""
    if kind == "group":
        if channels % groups:
            raise InputError(
                "norm", kind, f"cuts {channels} channels into {groups} groups", "use an even width"
            )
        return nn.GroupNorm(groups, channels, affine=affine)
    return nn.BatchNorm2d(channels, affine=affine)


class Norms:
    """Makes the normalisation layers of one network.

    Args:
        kind: batch or group norm; a group norm has `width / 2` groups.
    """

    def __init__(self, kind: NormKind, width: int, *, affine: bool = True):
        self.kind, self.groups, self.affine = kind, max(1, width // 2), affine

    def __call__(self, channels: int) -> nn.Module:
        """A new layer."""
        return norm_layer(self.kind, channels, self.groups, affine=self.affine)


def conv(inputs: int, outputs: int, side: int, stride: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, norms: Norms):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 3, stride), norms(width)
        self.conv2, self.bn2 = conv(width, width, 3), norms(width)
        self.shortcut = _shortcut(inputs, width, stride, norms)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution beside a shortcut; the 3x3 carries the stride."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, norms: Norms):
        super().__init__()
        outputs = self.expansion * width
        self.conv1, self.bn1 = conv(inputs, width, 1), norms(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), norms(width)
        self.conv3, self.bn3 = conv(width, outputs, 1), norms(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride, norms)
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, 4 width, H / stride, W / stride)."""
        inner = self.relu1(self.bn1(self.conv1(x)))
        inner = self.relu2(self.bn2(self.conv2(inner)))
        return self.relu3(self.bn3(self.conv3(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of four stages.

    Args:
        blocks: how many blocks each stage has.
        widths: channels of the stages; the stem has as many as the first.
        stem: `cifar` is a 3x3 convolution; `imagenet` 7x7 of stride 2 and a 3x3 max-pool of
            stride 2.
        head_bias: whether the linear layer has a bias.
        logit_norm: batch norm without parameters on the logits, part of the network also at test
            time.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        *,
        widths: tuple[int, int, int, int],
        norms: Norms,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
        stem: Stem = "cifar",
        head_bias: bool = True,
        logit_norm: bool = False,
    ):
        super().__init__()
        large = stem == "imagenet"
        self.conv1 = conv(input_shape[0], widths[0], 7 if large else 3, 2 if large else 1)
        self.bn1, self.relu = norms(widths[0]), nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        inputs = widths[0]
        for index, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            strides = [1 if index == 0 else 2] + [1] * (count - 1)
            stage = []
            for stride in strides:
                stage.append(block(inputs, width, stride, norms))
                inputs = block.expansion * width
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.linear = nn.Linear(inputs, classes, bias=head_bias)
        self.logit_norm = nn.BatchNorm1d(classes, affine=False) if logit_norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, K)."""
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return self.logit_norm(self.linear(x.mean(dim=(2, 3))))


@constructor
def resnet18(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    width: Count = 64,
    norm: NormKind = "batch",
    init: InitScheme = "framework",
) -> ResNet:
    """ResNet-18.

    Args:
        width: channels of the first stage, doubled in each further one.
        norm: `group` has `width / 2` groups.

    Returns:
        11,173,962 parameters at the defaults.
    """
    net = ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        widths=doubling(width),
        norms=Norms(norm, width),
        input_shape=input_shape,
        classes=classes,
    )
    return initialise(net, init)


@constructor
def resnet34(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    width: Count = 64,
    widths: Widths | None = None,
    norm: NormKind = "batch",
    affine: bool = True,
    stem: Stem = "cifar",
    head_bias: bool = True,
    logit_norm: bool = False,
    init: InitScheme = "framework",
) -> ResNet:
    """ResNet-34, with the options of the random-subnetwork study.

    Args:
        width: channels of the first stage, doubled in each further one.
        widths: channels of the four stages instead, such as (23, 25, 27, 29).
        affine: whether normalisation layers have parameters.
        stem, head_bias, logit_norm: see `ResNet`.

    Returns:
        21,282,122 parameters at the defaults, of which 21,265,088 are weights of convolutions and
        of the linear layer.
    """
    net = ResNet(
        BasicBlock,
        (3, 4, 6, 3),
        widths=widths or doubling(width),
        norms=Norms(norm, width, affine=affine),
        input_shape=input_shape,
        classes=classes,
        stem=stem,
        head_bias=head_bias,
        logit_norm=logit_norm,
    )
    return initialise(net, init)


@constructor
def resnet50(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    width: Count = 64,
    stem: Stem = "cifar",
    init: InitScheme = "framework",
) -> ResNet:
    """ResNet-50 of bottleneck blocks.

    Args:
        width: inner channels of the first stage, doubled in each further one.
        stem: `imagenet` with 1000 classes is the usual ResNet-50 of 25,557,032 parameters.

    Returns:
        23,520,842 parameters at the defaults.
    """
    net = ResNet(
        Bottleneck,
        (3, 4, 6, 3),
        widths=doubling(width),
        norms=Norms("batch", width),
        input_shape=input_shape,
        classes=classes,
        stem=stem,
    )
    return initialise(net, init)


def doubling(width: int) -> tuple[int, int, int, int]:
    """The widths of four stages, each twice the one before."""
    return width, 2 * width, 4 * width, 8 * width


def _shortcut(inputs: int, outputs: int, stride: int, norms: Norms) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv(inputs, outputs, 1, stride), norms(outputs))
