"""From a module to the nodes of a graph, through `torch.export`.

The walk over the exported program (`exporting.py`) keeps the operations that depend on the input,
folds those that do not into the table of constants, passes identities on, follows in-place
operations, and drops what the output does not need.

What would make a bound wrong in silence is refused: a value whose first axis is not the batch
(mixing examples, or a batch size frozen by the tracing), a branch on the batch size or on data, a
tensor read after an in-place operation changed it through a view, a random constant, a value of
less than single precision.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind
from torch.fx import Node as FxNode
from torch.utils._pytree import tree_leaves, tree_map_only

from holdfast.certify.graphs.exporting import export
from holdfast.certify.graphs.fxnodes import (
    base_name,
    mutates,
    named_arguments,
    path,
    place,
    unpredictable,
)
from holdfast.certify.operators.aten import CASTS, RULES, VIEWS
from holdfast.certify.operators.calls import Call, Data, Size
from holdfast.certify.operators.constants import Constant, Constants, Fixed, Folded, Named, Source
from holdfast.certify.operators.ops import Input, Node, Op
from holdfast.core.errors import CaptureError, shorten

_SUPPORTED = (
    "supported are linear, convolution (transposed too), batch norm, ReLU, leaky ReLU, clamp, "
    "sigmoid, tanh, maxima, pooling, mean, reshapes, sums, differences, and products with constants"
)
_RESHAPES = frozenset(name for name, rule in RULES.items() if rule is RULES["reshape"])


class _Unusable:
    """A value that may stand in the program as long as nothing reads it."""

    def __init__(self, reason: str):
        self.reason = reason


_Value = Data | Constant | Size | _Unusable


def trace(model: nn.Module, example: Tensor) -> tuple[tuple[Node, ...], Constants]:
    """The nodes of the model in order, the input first and the output last, and its constants.

    Args:
        model: in evaluation mode.
        example: (2, *E).

    Raises:
        CaptureError: names the operation that is not supported and the module that calls it.
    """
    walk = _Walk(export(model, example))
    nodes = walk.run()
    return nodes, Constants(model, tuple(walk.sources))


class _Walk:
    """One pass over an exported program."""

    def __init__(self, program: torch.export.ExportedProgram):
        self.program = program
        self.nodes: list[Node] = []
        self.sources: list[Source] = []
        self.values: dict[FxNode, _Value] = {}
        self.roots: dict[FxNode, FxNode] = {}
        self.batch: Any = None

    def run(self) -> tuple[Node, ...]:
        """The nodes that the output needs."""
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._placeholder(node, specs[node.name])
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "output":
                return self._needed(self._output(node))
            else:
                self.values[node] = _Unusable(f"{node.op} {place(node)} is not supported")
            self.roots.setdefault(node, node)
        raise CaptureError("the exported program has no output")

    def _placeholder(self, node: FxNode, spec: Any) -> _Value:
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            return self._constant(Named(spec.target))
        if spec.kind is InputKind.CONSTANT_TENSOR:
            return self._constant(Fixed(self.program.constants[spec.target]))
        if spec.kind is not InputKind.USER_INPUT or self.nodes:
            return _Unusable(f"input {node.name} is not a tensor or not the first")
        _check_precision(node)
        shape = node.meta["val"].shape
        self.batch = shape[0]
        if isinstance(self.batch, int):
            raise CaptureError(
                "the model fixes the batch size, so it cannot be captured; "
                "use x.flatten(1) instead of a reshape by len(x) or a number"
            )
        return self._append(Input(), (), tuple(shape[1:]), node)

    def _call(self, node: FxNode) -> _Value:
        arguments = tree_map_only(FxNode, lambda each: self.values[each], (node.args, node.kwargs))
        leaves = tree_leaves(arguments)
        if isinstance(node.meta.get("val"), torch.SymInt):
            return Size()
        if not any(isinstance(leaf, Data) for leaf in leaves):
            return self._fold(node, arguments, leaves)
        if node.meta.get("val") is None:
            return _Unusable(f"{base_name(node)} {place(node)} has no value")
        if base_name(node) not in RULES:
            raise CaptureError(f"{base_name(node)} {place(node)} is not supported; {_SUPPORTED}")
        for leaf in leaves:
            if isinstance(leaf, _Unusable):
                raise CaptureError(leaf.reason)
        if base_name(node) in CASTS and isinstance(arguments[0][0], Constant):
            dtype = node.meta["val"].dtype  # a constant in the type of the input
            return self._constant(Folded(torch.ops.aten.to.dtype, (arguments[0][0], dtype), {}))
        return self._operate(node, named_arguments(node, arguments))

    def _fold(self, node: FxNode, arguments: Any, leaves: list[Any]) -> _Value:
        """A call on constants only becomes a constant."""
        target: Any = torch.ops.aten.detach.default if base_name(node) == "detach" else node.target
        reason = self._unfoldable(node, leaves)
        if reason is None:
            return self._constant(Folded(target, *arguments))
        if mutates(node):
            self._spoil(node.args[0], reason)
        return _Unusable(reason)

    def _unfoldable(self, node: FxNode, leaves: list[Any]) -> str | None:
        """Why a call on constants only is no constant, if it is none."""
        for leaf in leaves:
            if isinstance(leaf, _Unusable):
                return leaf.reason
            if isinstance(leaf, Size | torch.SymInt):
                return f"{base_name(node)} {place(node)} depends on the batch size"
        if not isinstance(node.meta.get("val"), Tensor):
            return f"{base_name(node)} {place(node)} is not supported"
        if mutates(node) and base_name(node) != "detach":
            return f"{base_name(node)}_ {place(node)} changes a constant in place"
        reason = unpredictable(node)
        return None if reason is None else f"{base_name(node)} {place(node)} {reason}"

    def _operate(self, node: FxNode, arguments: Mapping[str, Any]) -> Data:
        name = base_name(node)
        call = Call(name, arguments, self._shape(node), place(node), self._number)
        if name not in _RESHAPES and any(isinstance(x, Size) for x in tree_leaves(arguments)):
            call.refuse("it depends on the batch size")
        inputs = tuple(operand.index for operand in call.operands)
        result = call.operands[0]
        chain = RULES[name](call)
        for op in chain:
            shape = call.shape if op is chain[-1] else result.shape
            result = self._append(op, inputs, shape, node)
            inputs = (result.index,)
        self._alias(node, name)
        return result

    def _shape(self, node: FxNode) -> tuple[int, ...]:
        """The shape without the batch axis, which must come first and nowhere else."""
        value = node.meta["val"]
        if not isinstance(value, Tensor):
            raise CaptureError(f"{base_name(node)} {place(node)} returns several values")
        _check_precision(node)
        shape = tuple(value.shape)
        if not shape or isinstance(shape[0], int) or shape[0].node.expr != self.batch.node.expr:
            raise CaptureError(
                f"{base_name(node)} {place(node)} mixes examples or fixes their number: the first "
                f"axis of its result {shorten(shape)} is not the batch; use flatten(1)"
            )
        if not all(isinstance(size, int) for size in shape[1:]):
            raise CaptureError(f"{base_name(node)} {place(node)} has no fixed shape")
        return shape[1:]

    def _alias(self, node: FxNode, name: str) -> None:
        """Follows memory: an in-place result spoils its target and all that share its memory.

        The tracer itself reads the result, not the target, where the target is used again.
        """
        source = next((each for each in node.args if isinstance(each, FxNode)), node)
        if mutates(node):
            root = self.roots[source]
            reason = f"{name}_ {place(node)} changes a tensor in place that is read later"
            for other in [each for each, base in self.roots.items() if base is root]:
                self._spoil(other, reason)
            self.roots[node] = root
        elif name in VIEWS:
            self.roots[node] = self.roots[source]

    def _spoil(self, node: Any, reason: str) -> None:
        self.values[node] = _Unusable(reason)

    def _output(self, node: FxNode) -> int:
        outputs = tree_leaves(node.args[0])
        value = self.values.get(outputs[0]) if len(outputs) == 1 else None
        if isinstance(value, _Unusable):
            raise CaptureError(value.reason)
        if not isinstance(value, Data):
            raise CaptureError("the model must return one tensor that depends on its input")
        return value.index

    def _needed(self, output: int) -> tuple[Node, ...]:
        """The nodes that the output depends on, renumbered; the input always stays."""
        needed = {0, output}
        for index in range(output, 0, -1):
            if index in needed:
                needed.update(self.nodes[index].inputs)
        places = {old: new for new, old in enumerate(sorted(needed))}
        return tuple(_renumbered(self.nodes[old], places) for old in places)

    def _append(
        self, op: Op, inputs: tuple[int, ...], shape: tuple[int, ...], node: FxNode
    ) -> Data:
        index = len(self.nodes)
        self.nodes.append(Node(index, op, inputs, shape, node.name, path(node)))
        return Data(index, shape)

    def _constant(self, source: Source) -> Constant:
        self.sources.append(source)
        return Constant(len(self.sources) - 1)

    def _number(self, value: float) -> Constant:
        return self._constant(Fixed(value))


def _check_precision(node: FxNode) -> None:
    """Raises CaptureError for a value that is not of single or double precision."""
    dtype = node.meta["val"].dtype
    if dtype not in (torch.float32, torch.float64):
        raise CaptureError(
            f"{base_name(node)} {place(node)} gives {dtype}, whose rounding no bound covers; "
            "leave out the cast, or capture model.float()"
        )


def _renumbered(node: Node, places: Mapping[int, int]) -> Node:
    inputs = tuple(places[index] for index in node.inputs)
    return replace(node, place=places[node.place], inputs=inputs)
