"""Forward substitution: linear forms of the input around every number of every node.

From the input on, each number z of a node's value lies between two linear forms of variables v,

    low + <lower, v>  <=  z  <=  high + <upper, v>,

which the node's operation turns into forms of its own value. A linear map takes the lower form
where its weight is positive and the upper one where it is negative (`push`); a scalar operation
puts its line in the place of z, and a maximum puts lines in the inputs that it selects. Three kinds
of forms:

- *adaptive*: lower and upper line each with its own slope, so that both forms differ;
- *parallel*: one slope d for both lines, d z + a <= op(z) <= d z + a', so that the coefficients are
  shared, lower = upper, and only the intercepts form an interval [low, high];
- *symbols*: parallel lines, and what is left open between them is a new variable in [-1, 1] for
  each unit: op(z) = d z + (a + a')/2 + e (a' - a)/2. Later layers see where an error came from.

What the variables are is left to `Variables`: the coordinates of the input (`Coordinates`), or
random projections of them (`estimates.py`).

Rounding (mode rigorous): at each node, let M = sum_c max(|lower_c|, |upper_c|) |v|_c + max(|low|,
|high|) be the sum of absolute terms of what it reads. Pushing by W is then off by at most gamma_n
(2 |W| M + |b|), which is taken off low and added to high; other nodes are treated alike.

Source: Liu 2022, sec 3.3.1 (parallel); Wong and Kolter 2018, arXiv 1711.00851, Alg. 1 (symbols; as
    zonotopes: Singh et al. 2018, DeepZ); Zhang et al. 2018, arXiv 1811.00866, and Xu et al. 2020,
    arXiv 2002.12920 (adaptive, forward mode).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from holdfast.certify.graphs.graph import Graph
from holdfast.certify.operators.constants import Values
from holdfast.certify.operators.lines import Lines
from holdfast.certify.operators.maximum_lines import parallel_selection, selection_of
from holdfast.certify.operators.ops import Input, Joint, LinearMap, Node, OrderStatistic, Scalar
from holdfast.certify.rounding import Box, radius

Kind = Literal["adaptive", "parallel", "symbols"]

_TINY = 2.0**-1000
_TERMS = 8


@dataclass(frozen=True, eq=False)
class Form:
    """A lower and an upper form of each number of a node's value.

    Args:
        lower: coefficients, (N, C, *shape), with N the batch size or 1.
        upper: the same; the same tensor where both are equal.
        low: intercepts of the lower forms, (B, *shape).
        high: those of the upper forms.
    """

    lower: Tensor
    upper: Tensor
    low: Tensor
    high: Tensor

    @property
    def shared(self) -> bool:
        """Whether lower and upper coefficients are the same."""
        return self.lower is self.upper

    def padded(self, columns: int, batch: int) -> "Form":
        """The form over more variables, each image with its own coefficients if `batch` says so."""
        lower = _padded(self.lower, columns, batch)
        upper = lower if self.shared else _padded(self.upper, columns, batch)
        return Form(lower, upper, self.low, self.high)


class Variables(Protocol):
    """What the forms are over."""

    @property
    def box(self) -> Box:
        """The hull of the inputs."""
        ...

    def start(self) -> Form:
        """The forms of the input itself."""
        ...

    def fresh(self, node: Node, gap: Tensor) -> Tensor | None:
        """Coefficients (B, C', *shape) of new variables that stand for errors in [-gap, gap] of
        the units of a node, (B, *shape); None leaves them in the intercepts."""
        ...

    def ends(self, form: Form) -> Box:
        """The least value of the lower forms and the greatest of the upper ones, (B, *shape)."""
        ...


class Rounding(Protocol):
    """What rounding may move in forms."""

    def size(self, form: Form) -> Tensor:
        """The sum of the absolute terms of a form, (B, *shape)."""
        ...

    def reach(self) -> Tensor:
        """The sum of the absolute values of all variables, (B,)."""
        ...


@dataclass(eq=False)
class Push:
    """A walk of forms over a graph.

    Args:
        variables: of the forms.
        kind: how scalar operations are relaxed.
        rounding: what rounding is paid for with; None pays for none.
        plain: boxes are those of the forms alone; else they are intersected with intervals.
        known: boxes of nodes that need not be found, by place.
    """

    graph: Graph
    values: Values
    variables: Variables
    kind: Kind
    rounding: Rounding | None = None
    plain: bool = False
    known: Mapping[int, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forms: dict[int, Form] = {0: self.variables.start()}
        self.boxes: list[Box] = [self.variables.box]
        self.read = read_by_nonlinear(self.graph)
        self.columns = self.forms[0].lower.shape[1]
        self.last = {index: node.place for node in self.graph.nodes for index in node.inputs}

    def run(self, stop: int | None = None) -> "Push":
        """To the end, or to the node before a place; forms that are not read again are dropped."""
        for node in self.graph.nodes[1:stop]:
            self.forms[node.place] = self._form(node)
            self.boxes.append(self._box(node))
            for index in set(node.inputs):
                if self.last[index] == node.place:
                    del self.forms[index]
        return self

    def _box(self, node: Node) -> Box:
        if node.place in self.known:
            return self.known[node.place]
        inputs = [self.boxes[index] for index in node.inputs]
        box = node.op.interval(inputs, self.values, rigorous=self.rounding is not None)
        if node.place not in self.read:
            return box
        found = self.variables.ends(self.forms[node.place])
        return found if self.plain else met(box, found)

    def _form(self, node: Node) -> Form:
        """The forms of a node's value from those of what it reads."""
        op, inputs = node.op, [self.forms[index] for index in node.inputs]
        if isinstance(op, LinearMap):
            return self._linear(op, inputs[0])
        if isinstance(op, Joint):
            return self._joint(op, inputs)
        if isinstance(op, OrderStatistic):
            return self._selected(op, node, inputs)
        boxes = [self.boxes[index] for index in node.inputs]
        if isinstance(op, Scalar):
            lines = op.lines(boxes[0], adaptive=self.kind == "adaptive")
            if self.kind == "adaptive":
                return self._lined(inputs[0], lines)
            return self._parallel(node, inputs[0], lines, boxes[0])
        return self._ended(op.interval(boxes, self.values, rigorous=self.rounding is not None))

    def _linear(self, op: LinearMap, form: Form) -> Form:
        flat = form.lower.flatten(0, 1)
        pair = flat, flat if form.shared else form.upper.flatten(0, 1)
        if len(flat):
            pair = op.push(*pair, self.values)
        low, high = op.push(form.low, form.high, self.values)
        offset = op.offset(self.values)
        if offset is not None:
            low, high = low + offset, high + offset
        slack: Tensor | float = 0.0
        if self.rounding:
            size = op.size(2 * self.rounding.size(form), self.values)
            slack = slack_of(self.rounding, op.terms(self.values), size)
        lower, upper = self._unflattened(pair, form, low)
        return Form(lower, upper, low - slack, high + slack)

    def _joint(self, op: Joint, forms: Sequence[Form]) -> Form:
        forms = aligned(forms)
        shared = all(form.shared for form in forms)
        flat = [form.lower.flatten(0, 1) for form in forms]
        if shared:
            both = op.forward(flat, self.values)
            pair = both, both
        else:
            ends = [
                Box(low, form.upper.flatten(0, 1)) for low, form in zip(flat, forms, strict=True)
            ]
            pair = op.push(ends, self.values)
        low, high = op.push([Box(form.low, form.high) for form in forms], self.values)
        slack: Tensor | float = 0.0
        if self.rounding:
            sizes = map(self.rounding.size, forms)
            size = op.push([Box(-size, size) for size in sizes], self.values).upper
            slack = slack_of(self.rounding, 2, size)
        lower, upper = self._unflattened(pair, forms[0], low)
        return Form(lower, upper, low - slack, high + slack)

    def _unflattened(
        self, pair: tuple[Tensor, Tensor], form: Form, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        shape = *form.lower.shape[:2], *like.shape[1:]
        lower = pair[0].reshape(shape)
        return lower, lower if pair[0] is pair[1] else pair[1].reshape(shape)

    def _lined(self, form: Form, lines: Lines) -> Form:
        """The lines in the place of what they are lines in."""
        below, above = lines.lower_slope.unsqueeze(1), lines.upper_slope.unsqueeze(1)
        lower = _scaled(below, form.lower, form.upper)
        upper = _scaled(above, form.upper, form.lower)
        low = _scaled(lines.lower_slope, form.low, form.high) + lines.lower_intercept
        high = _scaled(lines.upper_slope, form.high, form.low) + lines.upper_intercept
        if self.rounding:
            steep = torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
            size = steep * self.rounding.size(form)
            size = size + lines.lower_intercept.abs() + lines.upper_intercept.abs()
            slack = slack_of(self.rounding, 4, size)
            low, high = low - slack, high + slack
        return Form(lower, upper, low, high)

    def _parallel(self, node: Node, form: Form, lines: Lines, box: Box) -> Form:
        """Both lines with the slope of the upper one."""
        steep, first, last = lines.upper_slope, lines.lower_intercept, lines.upper_intercept
        shared = form.lower * steep.unsqueeze(1)
        low, high = _scaled(steep, form.low, form.high), _scaled(steep, form.high, form.low)
        columns = self.variables.fresh(node, (last - first) / 2)
        if columns is None:
            low, high = low + first, high + last
        else:
            middle = (first + last) / 2
            low, high = low + middle, high + middle
            shared = torch.cat([_padded(shared, self.columns, len(low)), columns], dim=1)
            self.columns = shared.shape[1]
        if self.rounding:
            size = steep.abs() * self.rounding.size(form) + first.abs() + last.abs()
            slack = (
                slack_of(self.rounding, 6, size)
                + (steep - lines.lower_slope).abs() * box.magnitude * 2
            )
            low, high = low - slack, high + slack
        return Form(shared, shared, low, high)

    def _selected(self, op: OrderStatistic, node: Node, forms: Sequence[Form]) -> Form:
        """The lines of an order statistic in the inputs that it selects."""
        forms = aligned(forms, batch=len(self.boxes[0].lower))
        boxes = [self.boxes[index] for index in node.inputs]
        found = (
            selection_of(op, boxes) if self.kind == "adaptive" else parallel_selection(op, boxes)
        )
        first, last, lines = found
        lower = picked([each.lower for each in forms], first, 2)
        low = picked([each.low for each in forms], first, 1)
        high = picked([each.high for each in forms], last, 1)
        if self.kind == "adaptive":  # both slopes are positive: lower lines read lower forms only
            upper = picked([each.upper for each in forms], last, 2)
            return self._lined(Form(lower, upper, low, high), lines)
        box = Box(*(picked([box[end] for box in boxes], first, 1) for end in (0, 1)))
        return self._parallel(node, Form(lower, lower, low, high), lines, box)

    def _ended(self, box: Box) -> Form:
        """Forms without coefficients."""
        nothing = box.lower.new_zeros(1, 0, *box.lower.shape[1:])
        return Form(nothing, nothing, box.lower, box.upper)


def slack_of(rounding: Rounding, terms: int, size: Tensor) -> Tensor:
    """What rounding may move in a form with these absolute terms, underflow included."""
    reach = rounding.reach().view(-1, *(1,) * (size.ndim - 1))
    return radius(terms + _TERMS, size.detach()) + (terms + _TERMS) * _TINY * reach


def read_by_nonlinear(graph: Graph) -> set[int]:
    """The places of linear nodes that nonlinear ones read."""
    linear = (Input, LinearMap, Joint)
    readers = [node for node in graph.nodes if not isinstance(node.op, linear)]
    read = {index for node in readers for index in node.inputs}
    return {index for index in read if index and isinstance(graph.nodes[index].op, linear)}


def met(first: Box, second: Box) -> Box:
    """The intersection; the first box where there is none."""
    lower, upper = (
        torch.maximum(first.lower, second.lower),
        torch.minimum(first.upper, second.upper),
    )
    crossed = lower > upper
    return Box(torch.where(crossed, first.lower, lower), torch.where(crossed, first.upper, upper))


def aligned(forms: Sequence[Form], batch: int = 1) -> list[Form]:
    """Forms over the same variables."""
    columns = max(form.lower.shape[1] for form in forms)
    batch = max(batch, *(form.lower.shape[0] for form in forms))
    return [form.padded(columns, batch) for form in forms]


def picked(parts: Iterable[Tensor], place: Tensor, lead: int) -> Tensor:
    """The numbers of several tensors at places (B, *out) among all, flattened after `lead` axes."""
    joined = torch.cat([part.flatten(lead) for part in parts], dim=lead)
    index = place.flatten(1)
    if lead == 2:
        index = index.unsqueeze(1).expand(-1, joined.shape[1], -1)
    return joined.gather(lead, index).reshape(*joined.shape[:lead], *place.shape[1:])


def _padded(table: Tensor, columns: int, batch: int) -> Tensor:
    missing = columns - table.shape[1]
    if missing > 0:
        zeros = table.new_zeros(len(table), missing, *table.shape[2:])
        table = torch.cat([table, zeros], dim=1)
    return table if batch in (1, len(table)) else table.expand(batch, *table.shape[1:])


def _scaled(slope: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The slope times the first where it is not negative, else times the second."""
    if first is second:
        return slope * first
    return torch.where(slope >= 0, slope * first, slope * second)
