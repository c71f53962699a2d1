"""Small examples, networks and recipes for the tests of training."""

import torch
from torch import nn

from holdfast.core.recipes import build
from holdfast.data.images import ImageData
from holdfast.training.recipe import Recipe

SHAPE = (2, 5, 4)


def examples(count=23, classes=3, seed=0):
    """Images of noise around the mean of their class, in levels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    means = torch.rand(classes, *SHAPE, generator=torch.Generator().manual_seed(99))
    noise = 0.15 * torch.randn(count, *SHAPE, generator=generator)
    images = ((means[labels] + noise).clamp(0, 1) * 255).to(torch.uint8)
    return ImageData(
        images=images,
        labels=labels,
        index=torch.arange(count),
        classes=classes,
        names=tuple(map(str, range(classes))),
        name="noise",
        split="train",
    )


def network(seed=0, *, norm=False, dropout=0.0, classes=3):
    """A small convolutional network with fixed weights."""
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Flatten(),
        nn.Linear(80, classes),
    )
    with torch.no_grad():
        for parameter in (*net[0].parameters(), *net[5].parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return net


def recipe(objective="standard", **changes):
    """A recipe of two epochs; `training` and `selection` are merged with the defaults here."""
    training = {"epochs": 2, "batch_size": 5, "schedule": {"kind": "constant", "value": 0.01}}
    training |= changes.pop("training", {})
    selection = {"attack": "pgd-2-1", "examples": 4} | changes.pop("selection", {})
    values = {
        "threat": "linf:0.1",
        "objective": objective,
        "seed": 3,
        "model": {"name": "mlp", "options": {"hidden": [6]}},
        "data": {"validation": 6},
        "training": training,
        "selection": selection,
    }
    return build(Recipe, values | changes)


def weights(model):
    """All weights and buffers as one vector."""
    return torch.cat([each.detach().flatten().double() for each in model.state_dict().values()])
