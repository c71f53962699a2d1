"""What is asked of a network: whether some input of a box has an output of an unsafe set.

    unsafe = union over cases of  { x : lower <= x <= upper,  rows f(x) <= limits }

The property holds if no input is unsafe. A case is one box of inputs with one conjunction of linear
constraints on the outputs: the disjunctive normal form of a VNN-LIB file.

Symbols: f the network, n the number of its inputs in the order of the file, K of its outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.affine import Linear
from holdfast.certify.operators.constants import Constant, Fixed
from holdfast.certify.operators.ops import Node
from holdfast.core.errors import InputError, described


@dataclass(frozen=True, eq=False)
class Case:
    """One box of inputs and one conjunction of constraints on the outputs, all float64.

    Args:
        lower: (n,).
        upper: (n,), nowhere below `lower`.
        rows: (R, K) coefficients of the outputs.
        limits: (R,); an output y is unsafe if rows y <= limits. Without rows, all outputs are.
    """

    lower: Tensor
    upper: Tensor
    rows: Tensor
    limits: Tensor

    def excess(self, y: Tensor) -> Tensor:
        """The largest of rows y - limits, (B,), for outputs (B, K); unsafe where not positive."""
        if len(self.limits) == 0:
            return y.new_full((len(y),), -torch.inf)
        return (y @ self.rows.to(y).T - self.limits.to(y)).amax(dim=1)

    def inside(self, x: Tensor) -> Tensor:
        """Whether flat inputs (B, n) lie in the box."""
        return ((x >= self.lower.to(x)) & (x <= self.upper.to(x))).all(dim=1)


@dataclass(frozen=True, eq=False)
class Property:
    """A union of cases; the property holds if no input is unsafe in any of them.

    Args:
        inputs: n.
        outputs: K.
        cases: none at all mean that nothing is unsafe.
        name: of the file, for reports.
    """

    inputs: int
    outputs: int
    cases: tuple[Case, ...]
    name: str = ""

    @property
    def compares(self) -> bool:
        """Whether every constraint compares two outputs, so that only their order matters."""
        for case in self.cases:
            ordered = case.rows.sort(dim=1).values
            pairs = ordered.abs().sum(dim=1) == 2
            ends = (ordered[:, 0] == -1) & (ordered[:, -1] == 1)
            if not bool((pairs & ends & (case.limits == 0)).all()):
                return False
        return True

    def violated(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether flat inputs (B, n) with outputs (B, K) are unsafe, (B,)."""
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for case in self.cases:
            found |= case.inside(x) & (case.excess(y) <= 0)
        return found

    def check_network(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> None:
        """Raises InputError unless a network of these shapes has n inputs and K outputs."""
        for name, wanted, shape in (
            ("inputs", self.inputs, input_shape),
            ("outputs", self.outputs, output_shape),
        ):
            if torch.Size(shape).numel() != wanted:
                found = described(f"{self.name or 'a property'} of {wanted} {name}")
                problem = f"does not fit a network with {name} of shape {tuple(shape)}"
                raise InputError("property", found, problem, "give the property of this network")


def by_box(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases in groups that share their box, in the order of their first ones."""
    groups: dict[tuple[bytes, bytes], list[Case]] = {}
    for case in cases:
        key = tuple(end.cpu().numpy().tobytes() for end in (case.lower, case.upper))
        groups.setdefault(key, []).append(case)  # type: ignore[arg-type]
    return list(groups.values())


def excesses(graph: Graph, cases: Sequence[Case]) -> Graph:
    """The graph followed by one linear layer: rows f(x) - limits of all cases, one after the other.

    A case is excluded over a set of inputs where any of its outputs is proved positive there, which
    is what every bound looks for.

    Args:
        graph: with output (K,).
        cases: with rows over these outputs.
    """
    rows, limits = (
        torch.cat([getattr(case, name) for case in cases]) for name in ("rows", "limits")
    )
    sources, last = graph.constants.sources, graph.nodes[-1]
    layer = Linear(Constant(len(sources)), Constant(len(sources) + 1))
    constants = replace(graph.constants, sources=(*sources, Fixed(rows), Fixed(-limits)))
    node = Node(last.place + 1, layer, (last.place,), (len(limits),), "excess", "")
    return Graph((*graph.nodes, node), constants)
