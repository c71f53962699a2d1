"""Passes of one training step, counted in rows; and the binary linear model of the closed forms."""

import torch
from torch import nn

from holdfast.threats import Linf


def calls_of(objective, model, data, threat=None):
    """How often each example went forward and backward in one step, and what came of it."""
    rows = {"forward": 0, "backward": 0}

    def backward(gradient):
        rows["backward"] += len(gradient)

    def forward(module, inputs, output):
        rows["forward"] += len(output)
        if output.requires_grad:
            output.register_hook(backward)

    handle = model.register_forward_hook(forward)
    threat = threat or Linf(0.1)
    result = objective.loss(model, data.inputs(), data.labels, threat, progress=0.5)
    result.loss.backward()
    handle.remove()
    return tuple(count / len(data) for count in rows.values()), result


class Margin(nn.Module):
    """Logits (0, w x + b), float64."""

    def __init__(self, w, b=0.3):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.tensor(w, dtype=torch.float64)), b

    def forward(self, x):
        t = x @ self.w + self.b
        return torch.stack([torch.zeros_like(t), t], 1)


def gradients(loss, model):
    """The weight gradients of a loss, as one vector."""
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    return torch.cat([each.flatten() for each in found])


def differences(value, model, step=1e-6):
    """Central differences of `value()` in every weight of a float64 model."""
    found = []
    with torch.no_grad():
        for weight in model.parameters():
            for place in range(weight.numel()):
                entry = weight.view(-1)[place : place + 1]
                kept = entry.clone()
                ends = []
                for sign in (1, -1):
                    entry.copy_(kept + sign * step)
                    ends.append(value().item())
                entry.copy_(kept)
                found.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(found, dtype=torch.float64)


def plain(inputs=3, classes=4, hidden=5, seed=0):
    """A smooth network on vectors, float64."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, classes)).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def vectors(count=6, inputs=3, classes=4, seed=1):
    """Inputs in [0, 1] and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, inputs, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (count,), generator=generator)
