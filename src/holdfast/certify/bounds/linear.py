"""Linear bounds: Dual, CROWN, CROWN-IBP.

Rows of a specification are pulled back through the whole graph to the input (`backward.py`), so
that the last layer is merged with them and what two logits share cancels. Methods differ in the
lines of a ReLU with z in [l, u], l < 0 < u, and in where the boxes of the nodes in between come
from (`schedule.py`); the upper line is u (z - l) / (u - l) in all.

    Dual        lower line u z / (u - l); boxes by the same lines
    CROWN       lower line z if u >= -l, else 0; boxes by the same lines
    CROWN-IBP   lines as CROWN; boxes by intervals

By default each row and unit is bounded by the cheapest means that settle it: intervals, then (in a
proof, where the inputs are a box) float32 around a reference, then float64. A row of a
specification that is proved positive keeps the bound that proved it, which a dearer one would
raise; the plain schedule is for those who want the number rather than the verdict.

Source: Wong and Kolter 2018, arXiv 1711.00851; Weng et al. 2018 (Fast-Lin), arXiv 1804.09699; Zhang
    et al. 2018 (CROWN), arXiv 1811.00866; Zhang et al. 2020 (CROWN-IBP), arXiv 1906.06316.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.rounding import plain_kernels
from holdfast.certify.spec import checked_rows
from holdfast.certify.substitution.backward import form, lower
from holdfast.certify.substitution.chains import last_run, rows_box
from holdfast.certify.substitution.regions import Hulled, around
from holdfast.certify.substitution.relaxed import Relaxed
from holdfast.certify.substitution.rows import Dense
from holdfast.certify.substitution.schedule import Inner, Known, Plan, Shared, pieces, relax
from holdfast.core.errors import InputError
from holdfast.core.random import Keys
from holdfast.core.recipes import Range, hyperparameters
from holdfast.core.results import Bounds

_TABLES = 4


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows of a specification over a threat around images, in one arithmetic.

    Args:
        x: (B, *E).
        rows: (B, R, K).
    """

    graph: Graph
    x: Tensor
    threat: Hulled
    rows: Tensor
    rigorous: bool

    def kernels(self) -> AbstractContextManager[None]:
        """The kernels that the mode may use."""
        return plain_kernels(self.rigorous)


@hyperparameters
class Linear:
    """What the linear bounds share; use one of `Dual`, `CROWN`, `CrownIBP`.

    Args:
        mode: `rigorous` is a proof for the network over the real numbers: float64, or float32
            where that is enough, less a rounding radius. `deployed` is a proof for its forward pass
            in float32, whatever the order of its sums (`deployed.py`). `fast` computes in the dtype
            of x, and is no proof.
        schedule: `cheap` begins with intervals and bounds only what they leave open; `plain` is the
            textbook's order, which bounds every unit by lines alone, in float64 unless `fast`.
        memory: bytes that the coefficients of a list of rows may take; more rows go in pieces.
    """

    mode: Literal["rigorous", "fast", "deployed"] = "rigorous"
    schedule: Literal["cheap", "plain"] = "cheap"
    memory: Annotated[int, Range(ge=1)] = 2**24
    _inner: ClassVar[Inner]
    _fixed: ClassVar[bool] = False
    _deployable: ClassVar[bool] = False
    proves: ClassVar[bool] = True

    def bound(
        self,
        model: nn.Module | Graph,
        x: Tensor,
        threat: Hulled,
        spec: Tensor,
        *,
        keys: Keys | None = None,
    ) -> Bounds:
        """Lower bounds on spec @ logits over the threat.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E).
            threat: asked for its support function; its hull is where intervals begin.
            spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.
            keys: not used; nothing is random.

        Returns:
            lower (B, R), float64 in `rigorous` mode; upper is None, ask for negated rows. The cost
            is in rows pulled back per image.

        Raises:
            CaptureError: the module holds an operation that is not supported.
            InputError: x or spec does not fit the model; the threat around x is empty.
            UnsupportedThreat: the threat has no hull, or no support function.
        """
        del keys
        problem = self.posed(model, x.detach(), threat, spec.detach())
        found, pulled = [], 0
        with torch.no_grad(), problem.kernels():
            for known, rows in self.known(problem):
                found.append(self.rows(known, rows))
                pulled += sum(known.rows)
        lower = torch.cat(found)
        cost = {"rows": pulled / max(1, len(x))}
        return Bounds(lower, None, sound=problem.rigorous, exact=False, cost=cost)

    def posed(self, model: nn.Module | Graph, x: Tensor, threat: Hulled, spec: Tensor) -> "Problem":
        """What is asked for, checked, in the arithmetic of the mode."""
        if self.mode == "deployed" and not self._deployable:
            remedy = "use 'rigorous', or Dual, CROWN, CrownIBP or AlphaCrown"
            raise InputError("mode", self.mode, f"is not known to {type(self).__name__}", remedy)
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        rows = checked_rows(spec, graph, len(x))
        rigorous = self.mode != "fast"
        x = x.double() if rigorous else x
        rows = rows.to(x).expand(len(x), *rows.shape[-2:])
        return Problem(graph, x, threat, rows, rigorous)

    def known(self, problem: "Problem") -> Iterator[tuple[Known, Tensor]]:
        """What is known of all nodes, for one group of images after another, and their rows."""
        x, threat = problem.x, problem.threat
        values = problem.graph.constants.bind(x.dtype, x.device)
        shared = Shared(values, problem.rigorous, deployed=self.mode == "deployed")
        plan = Plan(self._inner, self.schedule == "plain", self.memory)
        for part in self._groups(problem):
            own = threat.rows(part) if hasattr(threat, "rows") else threat
            region = around(own, x[part], rigorous=problem.rigorous)
            yield relax(problem.graph, shared, region, plan), problem.rows[part]

    def _groups(self, problem: "Problem") -> list[Tensor]:
        """The images in groups whose tables of boxes and lines fit into the memory."""
        x = problem.x
        numbers = sum(math.prod(node.shape) for node in problem.graph.nodes)
        size = max(1, self.memory // (_TABLES * numbers * x.element_size()))
        index = torch.arange(len(x), device=x.device)
        selects = hasattr(problem.threat, "rows")
        return list(torch.split(index, size if selects else max(1, len(x))))

    def rows(self, known: Known, rows: Tensor) -> Tensor:
        """Lower bounds (B, R) of the rows of a specification (B, R, K)."""
        if self.schedule == "plain" or self.mode == "deployed":
            found = torch.full_like(rows[:, :, 0], -torch.inf)
        else:
            found = _by_interval(known, rows)
        image, row = (~(found > 0)).nonzero().unbind(1)
        known.rows.append(len(image))
        if len(image):
            better = self._final(known, rows[image, row], image)
            better = torch.maximum(found[image, row], better)
            found = found.index_put((image, row), better)
        return found

    def _final(self, known: Known, rows: Tensor, image: Tensor) -> Tensor:
        """Lower bounds (N,) of a list of rows (N, K), each of one image."""
        relaxed = known.fixed if self._fixed else known.adaptive
        if known.centred is None:
            return self._lower(relaxed, rows, image)
        own = known.centred.fixed if self._fixed else known.centred.adapt()
        place, first = len(relaxed.graph.nodes) - 1, Dense(rows[:1].to(own.boxes[0].lower))
        cut = pieces(own, first, image, place, self.memory)
        bound = known.centred.lower
        found = torch.cat([bound(rows[part], image[part], fixed=self._fixed) for part in cut])
        left = (~(found > 0)).nonzero().squeeze(1)
        if known.centred.raised and len(left):
            index, slot = torch.unique(image[left], return_inverse=True)
            exact = self._lower(relaxed.chosen(index), rows[left], slot)
            found = found.index_put((left,), torch.maximum(found[left], exact))
        return found

    def _lower(self, relaxed: Relaxed, rows: Tensor, image: Tensor) -> Tensor:
        """Lower bounds (N,) of a list of rows (N, K), around zero."""
        place = len(relaxed.graph.nodes) - 1
        cut = pieces(relaxed, Dense(rows[:1]), image, place, self.memory)
        parts = [lower(relaxed, Dense(rows[part]), image[part], place) for part in cut]
        return torch.cat(parts)

    def forms(self, known: Known, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients (N, *E) and constants (N,) of forms of the input below all rows (B, R, K).

        Returns:
            Rows image by image, N = B R.
        """
        relaxed = known.fixed if self._fixed else known.adaptive
        place = len(relaxed.graph.nodes) - 1
        image = torch.arange(len(rows), device=rows.device).repeat_interleave(rows.shape[1])
        flat = rows.flatten(0, 1)
        cut = pieces(relaxed, Dense(flat[:1].detach()), image, place, self.memory)
        parts = [form(relaxed, Dense(flat[part]), image[part], place) for part in cut]
        coefficients, constants = zip(*parts, strict=True)
        return torch.cat(coefficients), torch.cat(constants)


def _by_interval(known: Known, rows: Tensor) -> Tensor:
    """Lower bounds (B, R) of rows, merged with the last linear layers, from the last boxes."""
    relaxed = known.adaptive
    run = last_run(relaxed.graph)
    before = run[0][0].inputs[0] if run else -1
    box = rows_box(run, rows, known.boxes[before], relaxed.values, relaxed.graph, relaxed.rigorous)
    return box.lower


@hyperparameters
class Dual(Linear):
    """The dual bound with its fixed slope; Fast-Lin and the linearised network are the same.

    Guarantee: in `rigorous` mode the true value of every row is at least `lower`, for every input
        that the threat accepts (`backward.py` says what of rounding is covered).
    Cost: a pull of one row for each unit whose sign is open, and for each row that is.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Wong and Kolter 2018, arXiv 1711.00851, Theorem 1 and Alg. 1; Wong 2020, sec 3.1.
    Departure: with the cheap schedule, units that intervals settle are not relaxed, and a box that
        an interval halves is intersected with it.
    """

    _inner: ClassVar[Inner] = "parallel"
    _deployable: ClassVar[bool] = True
    _fixed: ClassVar[bool] = True


@hyperparameters
class CROWN(Linear):
    """Linear bounds with the lower slope that leaves the smaller area.

    Guarantee: as `Dual`.
    Cost: as `Dual`, and a pull of two rows for each unit that parallel lines leave open.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Zhang et al. 2018, arXiv 1811.00866.
    Departure: with the cheap schedule, boxes are intersected with intervals and with those of
        parallel lines; bounds differ from the published ones slightly, to either side.
    """

    _inner: ClassVar[Inner] = "adaptive"
    _deployable: ClassVar[bool] = True


@hyperparameters
class CrownIBP(Linear):
    """Intervals for the nodes in between, CROWN's lines for the rows of the specification.

    Guarantee: as `Dual`.
    Cost: three forwards, and a pull of one row for each row of the specification that is open.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Zhang et al. 2020, arXiv 1906.06316.
    """

    _inner: ClassVar[Inner] = "interval"
    _deployable: ClassVar[bool] = True
