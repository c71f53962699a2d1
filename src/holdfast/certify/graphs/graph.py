"""The captured graph: what every bound of this room walks over.

`capture` turns a user's module into an immutable list of nodes (`ops.Node`), once per model. The
graph holds no numbers: parameters and buffers are looked up in the module at every evaluation
(`constants.py`), so a graph captured before training stays right during it, and bounds are
differentiable with respect to the module's own parameters. A walk returns one value per node;
bounds are such lists, apart from the graph, which can therefore be shared.

Departure: the graph stands for the model in evaluation mode, whatever mode the module is in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from holdfast.certify.graphs.comparison import compare
from holdfast.certify.graphs.tracing import trace
from holdfast.certify.operators.constants import Constants, Values
from holdfast.certify.operators.ops import Node
from holdfast.core.errors import CaptureError, InputError, described
from holdfast.core.frozen import device_of, evaluation_mode
from holdfast.core.random import Keys

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as a list of operations, each reading earlier ones.

    Args:
        nodes: the input first, the output last.
        constants: the table that the nodes' weights refer to.
    """

    nodes: tuple[Node, ...]
    constants: Constants

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one example."""
        return self.nodes[0].shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one result, (K,) for a classifier."""
        return self.nodes[-1].shape

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The module's own parameters and buffers that the graph reads, by name."""
        used = [constant for node in self.nodes for constant in node.constants]
        return {name: self.constants.named(name) for name in self.constants.names(used)}

    def forward(self, x: Tensor) -> Tensor:
        """The model's value, in evaluation mode and in the dtype of x; x (B, *E)."""
        return self.walk(x, lambda node, each, values: node.op.forward(each, values), like=x)[-1]

    def walk(
        self,
        first: T,
        rule: Callable[[Node, Sequence[T], Values], T],
        *,
        like: Tensor,
        stop: int | None = None,
    ) -> list[T]:
        """The value of a rule at every node, in order.

        Args:
            first: the value at the input.
            rule: takes a node, the values at its inputs and the constants.
            like: its dtype and device are those of the constants.
            stop: leaves out the nodes from this place on; None takes all.
        """
        values = self.constants.bind(like.dtype, like.device)
        results = [first]
        for node in self.nodes[1:stop]:
            results.append(rule(node, [results[index] for index in node.inputs], values))
        return results

    def check_input(self, x: Tensor, argument: str = "x") -> None:
        """Raises InputError unless x is floating of shape (B, *E)."""
        if x.ndim == 0 or tuple(x.shape[1:]) != self.input_shape or not x.is_floating_point():
            found = described(f"{x.dtype} tensor of shape {tuple(x.shape)}")
            wanted = f"give floats of shape (B, {', '.join(map(str, self.input_shape))})"
            raise InputError(argument, found, "does not fit the captured model", wanted)


def capture(
    model: nn.Module, input_shape: Sequence[int], *, device: torch.device | str | None = None
) -> Graph:
    """The graph of a module in evaluation mode.

    Args:
        model: maps (B, *input_shape) to one tensor whose first axis is the batch.
        input_shape: the shape of one example, without the batch axis.
        device: where to trace; None means the device of the model.

    Guarantee: the module is as before, also after an error; the graph's forward has been compared
        with the module's on batches of one and of three random examples (`comparison.py`).
    Cost: one trace (0.1 to 2 seconds, more for a hundred layers), four forwards of the model, and
        four in float64.

    Raises:
        CaptureError: an operation that is not known, named with its module, a batch size that is
            frozen, examples that are mixed, random numbers, half precision, a value that depends
            on the dtype, or a graph that differs from the model.

    Example:
        >>> graph = capture(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,))
        >>> [type(node.op).__name__ for node in graph.nodes]
        ['Input', 'Linear', 'ReLU', 'Linear']
    """
    if not isinstance(model, nn.Module):
        raise CaptureError(
            f"{type(model).__name__} cannot be captured: only an nn.Module can; "
            "wrap the callable in a module that holds its parameters"
        )
    place = torch.device(device) if device is not None else device_of(model)
    example = _example(model, tuple(input_shape), place)
    with evaluation_mode(model):
        graph = Graph(*trace(model, example[:2]))
        compare(graph, model, example)
    return graph


def _example(model: nn.Module, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Three rows of uniform numbers in the dtype of the model."""
    floats = (each.dtype for each in model.parameters() if each.is_floating_point())
    keys = Keys.of(0, range(3), device=device).fold("capture")
    return keys.uniform(shape).to(device, next(floats, torch.get_default_dtype()))
