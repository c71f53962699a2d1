"""PreActResNet-18, of any width.

A block is BN-ReLU-conv-BN-ReLU-conv beside a shortcut: the identity, or a 1x1 convolution without
batch norm where the shape changes, applied to the raw input of the block. Names of parameters are
those of the field's checkpoints (`conv1`, `layer1.0.bn1`, `layer2.0.shortcut.0`, `bn`, `linear`).

Source: He et al. 2016, arXiv:1603.05027; Wong, Rice, Kolter 2020, arXiv:2001.03994; Wong 2020,
sec 4.2; Andriushchenko 2024, sec 2.3, whose released code leaves out the last BN-ReLU (`final_bn`)
and draws `init="he"`. `norm="group"` is a variant of Andriushchenko 2024.
"""

from torch import Tensor, nn

from holdfast.core.recipes import Count
from holdfast.models.initialise import initialise
from holdfast.models.options import Classes, ImageShape, InitScheme, constructor
from holdfast.models.resnet import NormKind, Norms, conv, doubling


class PreActBlock(nn.Module):
    """Two pre-activated 3x3 convolutions beside a shortcut on the raw input."""

    def __init__(self, inputs: int, outputs: int, stride: int, norms: Norms):
        super().__init__()
        self.bn1, self.relu1 = norms(inputs), nn.ReLU()
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn2, self.relu2 = norms(outputs), nn.ReLU()
        self.conv2 = conv(outputs, outputs, 3)
        changes = stride != 1 or inputs != outputs
        self.shortcut = (
            nn.Sequential(conv(inputs, outputs, 1, stride)) if changes else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        inner = self.conv1(self.relu1(self.bn1(x)))
        return self.conv2(self.relu2(self.bn2(inner))) + self.shortcut(x)


class PreActResNet(nn.Module):
    """A pre-activation residual network of four stages.

    Args:
        blocks: how many blocks each stage has.
        final_bn: a last normalisation and ReLU before the pooling.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        *,
        width: int,
        norms: Norms,
        input_shape: tuple[int, int, int] = (3, 32, 32),
        classes: int = 10,
        final_bn: bool = True,
    ):
        super().__init__()
        self.conv1 = conv(input_shape[0], width, 3)
        inputs = width
        for index, (count, outputs) in enumerate(zip(blocks, doubling(width), strict=True)):
            strides = [1 if index == 0 else 2] + [1] * (count - 1)
            stage = []
            for stride in strides:
                stage.append(PreActBlock(inputs, outputs, stride, norms))
                inputs = outputs
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.bn = norms(inputs) if final_bn else nn.Identity()
        self.relu = nn.ReLU() if final_bn else nn.Identity()
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) -> logits (B, K)."""
        x = self.conv1(x)
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
        return self.linear(self.relu(self.bn(x)).mean(dim=(2, 3)))


@constructor
def preact_resnet18(
    *,
    input_shape: ImageShape = (3, 32, 32),
    classes: Classes = 10,
    width: Count = 64,
    norm: NormKind = "batch",
    final_bn: bool = True,
    init: InitScheme = "framework",
) -> PreActResNet:
    """PreActResNet-18, the usual network of adversarial training on CIFAR-10.

    Args:
        width: channels of the first stage, doubled in each further one.
        norm: `group` has `width / 2` groups.
        final_bn: see `PreActResNet`.

    Returns:
        11,172,170 parameters at the defaults.
    """
    net = PreActResNet(
        (2, 2, 2, 2),
        width=width,
        norms=Norms(norm, width),
        input_shape=input_shape,
        classes=classes,
        final_bn=final_bn,
    )
    return initialise(net, init)
