"""A counterexample, replayed: whether the network as it is deployed gives the unsafe output.

The deployed network is the ONNX file in onnxruntime, in the precision of the file; where that is
not installed, or cannot run the file, the forward pass of the captured graph in float64 stands in,
and the answer says so. A point of float64 numbers is first rounded to the file's precision, towards
the inside of its box.

Source: VNN-COMP rules since 2022: counterexamples are replayed in onnxruntime.
Departures: no tolerance, neither for the box nor for the outputs.
"""

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from holdfast.certify.formats.properties import Case, Property
from holdfast.certify.graphs.graph import Graph
from holdfast.core.errors import HoldfastError, MissingExtra, described, shorten
from holdfast.core.optional import optional

OWN = "float64 forward"


@dataclass(frozen=True, eq=False)
class Replay:
    """What a network answers to a counterexample.

    Args:
        executor: what ran it: `onnxruntime` with its version, or `float64 forward`.
        x: (n,) float64, the input as the network got it.
        output: (K,) float64.
        excess: by how much the output misses the nearest case, whose box must hold x; unsafe where
            it is not positive.
        problem: why onnxruntime did not run it; empty if it did.
    """

    executor: str
    x: Tensor
    output: Tensor
    excess: float
    problem: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether the input is unsafe by this replay."""
        return self.excess <= 0


def replay(path: str | Path, graph: Graph, property: Property, x: Tensor) -> Replay:
    """The network's answer to an input of a property.

    Args:
        path: of the ONNX file, which may be compressed (`.gz`).
        graph: of that file.
        x: (n,), flattened in the order of the property.

    Cost: one session of onnxruntime and one forward.
    """
    flat = x.detach().double().cpu().flatten()
    try:
        return _deployed(Path(path), property, flat)
    except HoldfastError as error:
        device = next((each.device for each in graph.parameters.values()), torch.device("cpu"))
        with torch.no_grad():
            output = graph.forward(flat.to(device).reshape(1, *graph.input_shape))[0].cpu()
        problem = "" if isinstance(error, MissingExtra) else str(error)
        return Replay(OWN, flat, output, _excess(property, flat, output), problem)


def _deployed(path: Path, property: Property, flat: Tensor) -> Replay:
    """The answer of onnxruntime."""
    runtime = optional("onnxruntime", extra="onnx")
    try:
        session = runtime.InferenceSession(
            _bytes(path), _options(runtime), providers=["CPUExecutionProvider"]
        )
        (entry,) = session.get_inputs()[:1]
        dtype = torch.float64 if entry.type == "tensor(double)" else torch.float32
        given = _inside(flat, dtype, property)
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in entry.shape]
        feed = {entry.name: given.reshape(shape).numpy()}
        output = torch.from_numpy(session.run(None, feed)[0]).double().flatten()
    except Exception as cause:  # onnxruntime's own errors have no public base
        reason = f"{type(cause).__name__}: {shorten(described(str(cause)))}"
        raise HoldfastError(f"onnxruntime cannot run {path.name} ({reason})") from cause
    x = given.double()
    name = f"onnxruntime {runtime.__version__}"
    return Replay(name, x, output, _excess(property, x, output))


def _bytes(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _options(runtime: Any) -> Any:
    """One thread, and no messages on the terminal."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _inside(x: Tensor, dtype: torch.dtype, property: Property) -> Tensor:
    """The point in a precision; what rounding moves out of the nearest case's box is moved back."""
    rounded = x.to(dtype)
    case = min(property.cases, key=lambda each: _outside(each, x), default=None)
    if case is None or dtype == torch.float64:
        return rounded
    up = torch.nextafter(rounded, rounded.new_tensor(torch.inf))
    down = torch.nextafter(rounded, rounded.new_tensor(-torch.inf))
    rounded = torch.where(rounded.double() < case.lower.cpu(), up, rounded)
    return torch.where(rounded.double() > case.upper.cpu(), down, rounded)


def _outside(case: Case, x: Tensor) -> float:
    """How far a point is outside of the box of a case."""
    beyond = torch.maximum(case.lower.cpu() - x, x - case.upper.cpu())
    return float(beyond.clamp_min(0).amax())


def _excess(property: Property, x: Tensor, output: Tensor) -> float:
    """The least excess over the cases whose box holds x; infinite where none does, or by NaN."""
    values = [torch.inf]
    for case in property.cases:
        if _outside(case, x) <= 0:
            value = float(case.excess(output.unsqueeze(0)))
            values.append(value if value == value else torch.inf)
    return min(values)
