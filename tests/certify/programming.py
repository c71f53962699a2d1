"""What the tests of programmes share: an independent linear programme, and exact enumeration."""

from functools import cache
from itertools import pairwise, product

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from holdfast.certify.graphs.graph import Graph, capture


def weights(net: nn.Sequential) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrices and vectors of a chain of linear layers with ReLUs between them."""
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    return [(w.weight.detach().double().numpy(), w.bias.detach().double().numpy()) for w in layers]


def triangle(net, boxes, row, lo, hi) -> float:
    """Wong 2020, Eq. 3.5, written out: a variable for each z and each zhat.

    Args:
        boxes: (l, u) of the pre-activations of each hidden layer, (n,) each.
        row: (K,) over the logits.
        lo, hi: (n,) ends of the inputs.
    """
    chain = weights(net)
    sizes = [len(lo)] + [n for weight, _ in chain[:-1] for n in (len(weight), len(weight))]
    start = np.cumsum([0, *sizes])
    total, equal, right, below, most = start[-1], [], [], [], []
    span = [(float(a), float(b)) for a, b in zip(lo, hi, strict=True)]
    for k, (weight, bias) in enumerate(chain[:-1]):
        low, high = (end.numpy() for end in boxes[k])
        before = start[2 * k]
        for j in range(len(weight)):
            zhat, z = start[2 * k + 1] + j, start[2 * k + 2] + j
            line = np.zeros(total)
            line[before : before + weight.shape[1]] = -weight[j]
            line[zhat] = 1
            equal.append(line)
            right.append(bias[j])
            if low[j] < 0 < high[j]:
                slope = high[j] / (high[j] - low[j])
                for a, c, limit in ((-slope, 1.0, -slope * low[j]), (1.0, -1.0, 0.0)):
                    line = np.zeros(total)
                    line[[zhat, z]] = [a, c]
                    below.append(line)
                    most.append(limit)
            else:
                line = np.zeros(total)
                line[[zhat, z]] = [-1.0 if low[j] >= 0 else 0.0, 1.0]
                equal.append(line)
                right.append(0.0)
        span += [(None, None)] * len(weight) + [(0, None)] * len(weight)
    weight, bias = chain[-1]
    cost = np.zeros(total)
    cost[start[-2] :] = row.numpy() @ weight
    solved = linprog(cost, below or None, most or None, equal or None, right or None, span)
    assert solved.status == 0
    return float(solved.fun + row.numpy() @ bias)


def enumerated(net, row, lo, hi) -> float:
    """The exact minimum: on each pattern of signs the network is affine, and its set a polytope."""
    chain = weights(net)
    counts = [len(weight) for weight, _ in chain[:-1]]
    span = list(zip(lo.tolist(), hi.tolist(), strict=True))
    best = np.inf
    for pattern in product((0.0, 1.0), repeat=sum(counts)):
        on = np.split(np.array(pattern), np.cumsum(counts)[:-1])
        matrix, offset, below, most = np.eye(len(lo)), np.zeros(len(lo)), [], []
        for (weight, bias), mask in zip(chain[:-1], on, strict=True):
            matrix, offset = weight @ matrix, weight @ offset + bias
            sign = (1 - 2 * mask)[:, None]
            below.append(sign * matrix)
            most.append(-sign[:, 0] * offset)
            matrix, offset = mask[:, None] * matrix, mask * offset
        cost = row.numpy() @ chain[-1][0]
        solved = linprog(cost @ matrix, np.vstack(below), np.concatenate(most), None, None, span)
        if solved.status == 0:
            best = min(best, solved.fun + cost @ offset + row.numpy() @ chain[-1][1])
    return float(best)


def tiny(seed: int, sizes=(3, 4, 3, 2)) -> nn.Sequential:
    """A chain of linear layers and ReLUs, float64, keyed weights."""
    generator = torch.Generator().manual_seed(seed)
    modules: list[nn.Module] = []
    for inside, outside in pairwise(sizes):
        layer = nn.Linear(inside, outside, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(outside, inside, generator=generator))
            layer.bias.copy_(0.3 * torch.randn(outside, generator=generator))
        modules += [layer, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


@cache
def tiny_graph(seed: int, sizes=(3, 4, 3, 2)) -> Graph:
    """The captured graph of `tiny(seed, sizes)`."""
    return capture(tiny(seed, sizes), sizes[:1])


def hull(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The box that an unboxed Linf ball accepts, of one image, flat."""
    return (x - eps - 1e-6).flatten(), (x + eps + 1e-6).flatten()
