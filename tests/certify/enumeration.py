"""The exact minimum of a small ReLU network over a box, by a mixed-integer programme.

Written with whole matrices for graphs of linear maps, ReLUs and sums, apart from the engine: the
variables are the inputs, the outputs of all ReLUs, and a switch for each of them.
"""

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp

from holdfast.certify.bounds.interval import boxes
from holdfast.certify.operators.ops import LinearMap
from holdfast.certify.operators.structural import Add, ReLU, Subtract
from holdfast.certify.rounding import Box


@torch.no_grad()
def minimum(graph, lower, upper, rows=None):
    """The least of the largest of some outputs, over the box (1, *E); None takes all outputs."""
    values = graph.constants.bind(torch.float64, torch.device("cpu"))
    known = boxes(graph, Box(lower, upper), rigorous=False)
    relus = [node for node in graph.nodes if isinstance(node.op, ReLU)]
    sizes = [lower.numel(), *(torch.Size(node.shape).numel() for node in relus)]
    starts, count = np.cumsum([0, *sizes]), sum(sizes)

    def variables(index, shape):
        """A block of variables as an affine function of all of them."""
        columns = torch.zeros(count, sizes[index], dtype=torch.float64)
        columns[starts[index] : starts[index + 1]] = torch.eye(sizes[index], dtype=torch.float64)
        return columns.view(-1, *shape), torch.zeros(1, *shape, dtype=torch.float64)

    found, left, right, most = [variables(0, graph.input_shape)], [], [], []
    for node in graph.nodes[1:]:
        columns, origin = found[node.inputs[0]]
        if isinstance(node.op, LinearMap):
            found.append((node.op.linear(columns, values), node.op.forward([origin], values)))
        elif isinstance(node.op, Add | Subtract):
            sign = 1 if isinstance(node.op, Add) else -1
            other, second = found[node.inputs[1]]
            found.append((columns + sign * other, origin + sign * second))
        else:
            index = relus.index(node) + 1
            own = np.eye(count)[starts[index] : starts[index + 1]]
            z, b = columns.flatten(1).T.numpy(), origin.flatten().numpy()
            low, high = (end.flatten().numpy() for end in known[node.inputs[0]])
            switch = np.eye(count - sizes[0])[starts[index] - sizes[0] :][: sizes[index]]
            low, high = np.minimum(low, 0), np.maximum(high, 0)
            left += [  # z <= a,  a <= z - low (1 - d),  a <= high d
                np.hstack([z - own, 0 * switch]),
                np.hstack([own - z, -low[:, None] * switch]),
                np.hstack([own, -high[:, None] * switch]),
            ]
            right += [-b, b - low, 0 * b]
            most.append(high)
            found.append(variables(index, node.shape))
    columns, origin = found[-1]
    chosen = slice(None) if rows is None else list(rows)
    out, b = columns.flatten(1).T.numpy()[chosen], origin.flatten().numpy()[chosen]
    left.append(np.hstack([out, np.zeros((len(out), count - sizes[0]))]))
    right.append(-b)
    last = [np.zeros((len(part), 1)) for part in left[:-1]] + [-np.ones((len(out), 1))]
    matrix = np.hstack([np.vstack(left), np.vstack(last)])
    cost = np.append(np.zeros(matrix.shape[1] - 1), 1.0)
    switches = count - sizes[0]
    ends = [
        np.concatenate([lower.flatten().numpy(), np.zeros(2 * switches), [-np.inf]]),
        np.concatenate([upper.flatten().numpy(), *most, np.ones(switches), [np.inf]]),
    ]
    kinds = np.concatenate([np.zeros(count), np.ones(switches), [0]])
    solved = milp(
        cost,
        integrality=kinds,
        bounds=Bounds(*ends),
        constraints=LinearConstraint(matrix, ub=np.concatenate(right)),
        options={"mip_rel_gap": 0.0},
    )
    assert solved.status == 0
    return solved.fun
