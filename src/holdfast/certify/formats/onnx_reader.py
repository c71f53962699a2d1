"""ONNX files as networks and graphs.

A file is read once into an `OnnxNetwork`, a module whose forward calls one step per node in their
order (`onnx_ops.py`); everything that does not depend on the input is computed while reading. The
graph is then captured from that module like from any other (`graph.capture`), so that there is one
set of bounds, one table of constants, and the same refusals.

The batch is the first axis of the input where that is one or has no fixed size, and an added one
otherwise; a `Reshape` with a batch of one written into it is read as keeping the batch.

Guarantee: every network that is read has been compared with the reference implementation of the
operators (`onnx.reference`) on random inputs; a difference above 1e-5 of the scale is refused. What
is decided about the network is decided for its real-number semantics, with the stored weights.

Source: Open Neural Network Exchange, IR versions 3 to 10.
Departures: one input and one output, without control flow; the output is flattened.
"""

import gzip
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.certify.formats.onnx_ops import RULES
from holdfast.certify.formats.onnx_values import Array, Known, OnnxCall, Shape, Value, shaped
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.core.errors import CaptureError, InputError, described, shorten
from holdfast.core.optional import optional
from holdfast.core.random import Keys

_CLOSE = 1e-5
_LAST: dict[str, Any] = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}
_TRIALS = 3


def read_onnx(path: str | Path, *, order_only: bool = False) -> Graph:
    """The graph of the network in an ONNX file, which may be compressed (`.gz`).

    Args:
        path: of the file.
        order_only: whether only the order of the outputs matters, so that a last Softmax over all
            of them, which keeps it, may be left out.

    Returns:
        The graph; its `constants.model` is the `OnnxNetwork` itself.

    Guarantee: equal to `onnx.reference` on random inputs (see above), and to its own module on
        batches of one and of three.
    Cost: one trace, and a few forwards of the reference implementation, which is slow for large
        convolutions.
    Needs: the extra `onnx`.

    Raises:
        InputError: the file cannot be read or is no ONNX network.
        CaptureError: an operator without a rule, named with its place, or a difference from the
            reference.
        MissingExtra: the package `onnx` is absent.
    """
    network = load_onnx(path, order_only=order_only)
    return capture(network, network.input_shape)


def load_onnx(path: str | Path, *, order_only: bool = False) -> "OnnxNetwork":
    """The network in an ONNX file as a module; arguments and errors as in `read_onnx`."""
    onnx = optional("onnx", extra="onnx")
    proto = _proto(onnx, Path(path))
    network = _Reading(onnx, proto, Path(path).name).network(order_only)
    _compare(onnx, proto, network, Path(path).name)
    return network


class OnnxNetwork(nn.Module):
    """The network of an ONNX file: maps (B, *input_shape) to (B, K).

    Args:
        steps: the calls, in order, each with the places of the values that it reads.
        input_shape: of one example.
        wanted: the place of the output among the values, the input being 0.
        last: the last operator of the file, if it was left out.

    Attributes: `last`.
    """

    def __init__(
        self,
        steps: Mapping[str, tuple["_Step", tuple[int, ...]]],
        input_shape: Shape,
        wanted: int,
        last: str = "",
    ):
        super().__init__()
        self.last = last
        self.nodes = nn.Module()
        self._names = list(steps)
        self._inputs = [places for _, places in steps.values()]
        self.input_shape, self._wanted = input_shape, wanted
        for name, (step, _) in steps.items():
            self.nodes.add_module(name, step)

    def forward(self, x: Tensor) -> Tensor:
        """The flattened output (B, K)."""
        values = [x]
        for name, places in zip(self._names, self._inputs, strict=True):
            values.append(getattr(self.nodes, name)(*(values[place] for place in places)))
        result = values[self._wanted]
        return result.flatten(1) if result.ndim > 1 else result.unsqueeze(1)


class _Step(nn.Module):
    """One node of the file that depends on the input.

    Args:
        operator: its name.
        attributes: of the node.
        inputs: constants, or for a value whether its first axis is the batch; None if left out.
    """

    def __init__(
        self, operator: str, attributes: Mapping[str, Any], inputs: list[Array | bool | None]
    ):
        super().__init__()
        self.operator, self.attributes, self.inputs = operator, attributes, inputs
        for place, value in enumerate(inputs):
            if isinstance(value, np.ndarray):
                self.register_buffer(f"input{place}", torch.from_numpy(value.copy()))

    def value(self, *tensors: Tensor) -> Value:
        """The value of the node for the tensors of its values."""
        waiting = iter(tensors)
        operands: list[Value | Known | None] = []
        for place, each in enumerate(self.inputs):
            if isinstance(each, np.ndarray):
                operands.append(Known(each, getattr(self, f"input{place}")))
            else:
                operands.append(None if each is None else Value(next(waiting), each))
        return RULES[self.operator](OnnxCall(self.operator, self.attributes, operands))

    def forward(self, *tensors: Tensor) -> Tensor:
        """The tensor of the value."""
        return self.value(*tensors).tensor


class _Reading:
    """One pass over the nodes of a file, with a batch of one to learn all shapes."""

    def __init__(self, onnx: Any, proto: Any, name: str):
        self.onnx, self.graph, self.name = onnx, proto.graph, name
        self.sets = proto.opset_import
        self.known = {each.name: self._constant(each) for each in proto.graph.initializer}
        self.values: dict[str, tuple[int, Value]] = {}
        self.steps: dict[str, tuple[_Step, tuple[int, ...]]] = {}

    def network(self, order_only: bool) -> OnnxNetwork:
        """The module of the whole file, or all but a last step that keeps the order of outputs."""
        entry = _data_input(self.graph, self.name)
        self.values[entry.name] = (0, shaped(*_example(entry, self.name)))
        shape = tuple(self.values[entry.name][1].tensor.shape[1:])
        with torch.no_grad():
            for number, node in enumerate(self.graph.node):
                self._read(node, f"{node.op_type}_{number}")
        wanted = [each.name for each in self.graph.output]
        if len(wanted) != 1 or wanted[0] not in self.values:
            raise CaptureError(
                f"{self.name} has outputs {shorten(wanted)}; one that depends on the input is read"
            )
        place, value = self.values[wanted[0]]
        last = list(self.steps)[place - 1] if place else ""
        if order_only and last and self._keeps_order(self.steps[last][0], value):
            before = dict(list(self.steps.items())[: place - 1])
            (place,) = self.steps[last][1]
            return OnnxNetwork(before, shape, place, last.partition("_")[0]).eval()
        return OnnxNetwork(self.steps, shape, place).eval()

    def _keeps_order(self, step: _Step, value: Value) -> bool:
        """Whether a step orders the outputs as its input does: a Softmax over all of them."""
        axis = int(step.attributes.get("axis", -1))
        fits = -len(value.shape) <= axis < len(value.shape)
        whole = fits and math.prod(value.shape) == value.shape[axis]
        return step.operator in ("Softmax", "LogSoftmax") and whole

    def _read(self, node: Any, place: str) -> None:
        attributes = {
            each.name: self.onnx.helper.get_attribute_value(each) for each in node.attribute
        }
        for name in node.input:
            if name and name not in self.values and name not in self.known:
                self._refuse(node, place, f"its input {shorten(name)} is not known before it")
        if not node.output:
            self._refuse(node, place, "it has no output")
        data = [name for name in node.input if name in self.values]
        if node.op_type == "Shape" and data:
            self._measure(node, attributes, place)
        elif not data:
            self._fold(node, place)
        else:
            self._step(node, attributes, place)

    def _constant(self, entry: Any) -> Array:
        """The numbers of an initialiser."""
        try:
            array: Array = self.onnx.numpy_helper.to_array(entry)
        except Exception as cause:  # whatever the package raises
            raise CaptureError(
                f"{self.name}: the numbers of {shorten(entry.name)} cannot be read: {_why(cause)}"
            ) from cause
        return array

    def _measure(self, node: Any, attributes: Mapping[str, Any], place: str) -> None:
        """The shape of a value, which is fixed."""
        shape = self.values[node.input[0]][1].shape
        part = slice(attributes.get("start", 0), attributes.get("end"))
        self.known[node.output[0]] = np.asarray(shape[part], dtype=np.int64)

    def _fold(self, node: Any, place: str) -> None:
        """A node on constants only becomes a constant, by the reference implementation."""
        helper = self.onnx.helper
        empty = self.onnx.TypeProto()
        inputs = [helper.make_value_info(name, empty) for name in dict.fromkeys(node.input) if name]
        outputs = [helper.make_value_info(name, empty) for name in node.output if name]
        model = helper.make_model(
            helper.make_graph([node], place, inputs, outputs), opset_imports=self.sets
        )
        try:
            feeds = {name: self.known[name] for name in node.input if name}
            results = (
                optional("onnx.reference", extra="onnx").ReferenceEvaluator(model).run(None, feeds)
            )
        except Exception as cause:  # whatever the reference implementation raises
            self._refuse(node, place, _why(cause))
        self.known |= zip((each for each in node.output if each), results, strict=True)

    def _step(self, node: Any, attributes: Mapping[str, Any], place: str) -> None:
        if node.op_type not in RULES or node.domain not in ("", "ai.onnx"):
            self._refuse(node, place, f"it is not supported; supported are {', '.join(RULES)}")
        if node.op_type == "Split":
            for part, name in enumerate(node.output):
                own = dict(attributes) | {"part": part, "parts": len(node.output)}
                self._add(node, own, f"{place}_{part}", name)
            return
        if any(node.output[1:]) and node.op_type != "Dropout":
            self._refuse(node, place, "only its first output is supported")
        self._add(node, attributes, place, node.output[0])

    def _add(self, node: Any, attributes: Mapping[str, Any], place: str, output: str) -> None:
        """One step, whose value is an output of the node."""
        sources = [self.values.get(name) for name in node.input]
        inputs: list[Array | bool | None] = [
            source[1].led if source else self.known[name] if name else None
            for name, source in zip(node.input, sources, strict=True)
        ]
        step = _Step(node.op_type, dict(attributes), inputs)
        used = [source for source in sources if source]
        try:
            value = step.value(*(value.tensor for _, value in used))
        except CaptureError as cause:
            self._refuse(node, place, str(cause))
        except Exception as cause:  # attributes of any type and size may stand in a file
            self._refuse(node, place, _why(cause))
        self.steps[place] = (step, tuple(number for number, _ in used))
        self.values[output] = (len(self.steps), value)

    def _refuse(self, node: Any, place: str, problem: str) -> None:
        name = f"'{node.name}' " if node.name else ""
        raise CaptureError(f"{self.name}: operator {node.op_type} {name}({place}): {problem}")


def _why(cause: Exception) -> str:
    """A foreign error as one short line."""
    return f"{type(cause).__name__}: {shorten(described(' '.join(str(cause).split())))}"


def _data_input(graph: Any, name: str) -> Any:
    """The one input that is no initialiser; older files list the initialisers as well."""
    known = {each.name for each in graph.initializer}
    entries = [each for each in graph.input if each.name not in known]
    if len(entries) != 1:
        names = shorten([each.name for each in entries])
        raise CaptureError(f"{name} has inputs {names}; a network with one input is read")
    return entries[0]


def _example(entry: Any, name: str) -> tuple[Tensor, Shape]:
    """Zeros for an input with a batch of one, and its shape; a first axis of any size is one."""
    kind = entry.type.tensor_type
    sizes = [each.dim_value for each in kind.shape.dim]
    if sizes and sizes[0] == 0:
        sizes[0] = 1
    if not sizes or min(sizes) < 1 or kind.elem_type not in (1, 11):
        raise CaptureError(f"{name}: input {entry.name!r} has no fixed shape of floats")
    dtype = torch.float32 if kind.elem_type == 1 else torch.float64
    return torch.zeros(1, *sizes, dtype=dtype), tuple(sizes)


def _proto(onnx: Any, path: Path) -> Any:
    """The contents of a file."""
    try:
        if path.suffix == ".gz":
            return onnx.load_model_from_string(gzip.decompress(path.read_bytes()))
        return onnx.load(str(path))
    except (OSError, EOFError, zlib.error) as cause:
        raise InputError("network", str(path), f"cannot be read ({cause})", "check it") from cause
    except Exception as cause:  # the decoder's own errors have no public base
        remedy = "give a file that onnx.load reads"
        raise InputError("network", str(path), "is no ONNX network", remedy) from cause


def _compare(onnx: Any, proto: Any, network: OnnxNetwork, name: str) -> None:
    """Raises CaptureError unless the network computes what the reference implementation does."""
    entry = _data_input(proto.graph, name)
    example, shape = _example(entry, name)
    keys = Keys.of(0, range(_TRIALS)).fold("onnx")
    draws = torch.cat((keys.uniform(shape)[:1], keys.normal(shape)[1:])).to(example)
    try:
        reference = optional("onnx.reference", extra="onnx")
        session = reference.ReferenceEvaluator(proto, new_ops=[_batch_norm(onnx)])
        wanted = [session.run(None, {entry.name: draw.numpy()})[0] for draw in draws]
    except Exception as cause:  # whatever the reference implementation raises
        raise CaptureError(f"{name} fails in onnx.reference: {_why(cause)}") from cause
    with torch.no_grad():
        found = network(shaped(draws, shape).tensor)
        if network.last:
            found = _LAST[network.last](found.double(), dim=1).to(found)
    expected = torch.from_numpy(np.stack(wanted)).reshape(len(draws), -1)
    error = (found - expected).abs().amax() if found.shape == expected.shape else torch.inf
    if not error <= _CLOSE * (1 + expected.abs().amax()):
        raise CaptureError(
            f"{name}: the network as read differs from onnx.reference by {float(error):.3g}"
        )


def _batch_norm(onnx: Any) -> Any:
    """Batch norm with the given statistics; the reference's own, for sets 9 to 13, computes the
    batch's statistics where the specification does not."""
    base = optional("onnx.reference.op_run", extra="onnx").OpRun

    def run(
        self: Any,
        x: Array,
        scale: Array,
        bias: Array,
        mean: Array,
        variance: Array,
        **settings: Any,
    ) -> tuple[Array]:
        del self
        axes = (-1, *(1,) * (x.ndim - 2))
        slope = scale / np.sqrt(variance + settings.get("epsilon", 1e-5))
        value = (x - mean.reshape(axes)) * slope.reshape(axes) + bias.reshape(axes)
        return (value.astype(x.dtype),)

    return type("BatchNormalization", (base,), {"op_domain": "", "_run": run})
