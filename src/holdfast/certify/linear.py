"""Linear bounds: Dual, CROWN, CROWN-IBP.

Rows of a specification are pulled back through the whole graph to the input (`backward.py`), so
that the last layer is merged with them and what two logits share cancels. Methods differ in the
lines of a ReLU with z in [l, u], l < 0 < u, and in where the boxes of the nodes in between come
from (`schedule.py`); the upper line is u (z - l) / (u - l) in all.

    Dual        lower line u z / (u - l); boxes by the same lines
    CROWN       lower line z if u >= -l, else 0; boxes by the same lines
    CROWN-IBP   lines as CROWN; boxes by intervals

By default rows and units that intervals already settle are not pulled back at all: a specification
row that is proved positive keeps its interval's bound.

Source: Wong and Kolter 2018, arXiv 1711.00851; Weng et al. 2018 (Fast-Lin), arXiv 1804.09699; Zhang
    et al. 2018 (CROWN), arXiv 1811.00866; Zhang et al. 2020 (CROWN-IBP), arXiv 1906.06316.
"""

import math
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from holdfast.certify.backward import lower
from holdfast.certify.chains import last_run, rows_box
from holdfast.certify.graph import Graph, capture
from holdfast.certify.interval import Hulled, checked_rows
from holdfast.certify.regions import around
from holdfast.certify.rounding import plain_kernels
from holdfast.certify.rows import Dense
from holdfast.certify.schedule import Inner, Known, Plan, Shared, pieces, relax
from holdfast.core.random import Keys
from holdfast.core.recipes import Range, hyperparameters
from holdfast.core.results import Bounds

_TABLES = 4


@hyperparameters
class Linear:
    """What the linear bounds share; use one of `Dual`, `CROWN`, `CrownIBP`.

    Args:
        mode: `rigorous` (float64 less the rounding radius, a proof) or `fast` (dtype of x).
        schedule: `cheap` begins with intervals and bounds only what they leave open; `plain` is the
            textbook's order, which bounds every unit by lines alone.
        memory: bytes that the coefficients of a list of rows may take; more rows go in pieces.
    """

    mode: Literal["rigorous", "fast"] = "rigorous"
    schedule: Literal["cheap", "plain"] = "cheap"
    memory: Annotated[int, Range(ge=1)] = 2**23
    _inner: ClassVar[Inner]
    _fixed: ClassVar[bool] = False

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
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        rigorous = self.mode == "rigorous"
        x = x.detach().double() if rigorous else x.detach()
        rows = checked_rows(spec, graph, len(x)).to(x)
        rows = rows.expand(len(x), *rows.shape[-2:])
        bounds = rows.new_empty(rows.shape[:2])
        pulled = 0
        values = graph.constants.bind(x.dtype, x.device)
        shared = Shared(values, rigorous)
        plan = Plan(self._inner, self.schedule == "plain", self.memory)
        with torch.no_grad(), plain_kernels(rigorous and x.is_cuda):
            for part in self._groups(graph, x, threat):
                own = threat.rows(part) if hasattr(threat, "rows") else threat
                region = around(own, x[part], rigorous=rigorous)
                known = relax(graph, shared, region, plan)
                bounds[part] = self._rows(known, rows[part])
                pulled += sum(known.rows)
        return Bounds(bounds, None, sound=rigorous, exact=False, cost={"rows": pulled / len(x)})

    def _groups(self, graph: Graph, x: Tensor, threat: object) -> list[Tensor]:
        """The images in groups whose tables of boxes and lines fit into the memory."""
        numbers = sum(math.prod(node.shape) for node in graph.nodes)
        size = max(1, self.memory // (_TABLES * numbers * x.element_size()))
        index = torch.arange(len(x), device=x.device)
        return list(torch.split(index, size if hasattr(threat, "rows") else max(1, len(x))))

    def _rows(self, known: Known, rows: Tensor) -> Tensor:
        """Lower bounds (B, R) of the rows of a specification (B, R, K)."""
        if self.schedule == "plain":
            found = torch.full_like(rows[:, :, 0], -torch.inf)
        else:
            found = _by_interval(known, rows)
        image, row = (~(found > 0)).nonzero().unbind(1)
        known.rows.append(len(image))
        if len(image):
            better = self._final(known, rows[image, row], image)
            found[image, row] = torch.maximum(found[image, row], better)
        return found

    def _final(self, known: Known, rows: Tensor, image: Tensor) -> Tensor:
        """Lower bounds (N,) of a list of rows (N, K), each of one image."""
        relaxed = known.fixed if self._fixed else known.adaptive
        place = len(relaxed.graph.nodes) - 1
        cut = pieces(relaxed, Dense(rows[:1]), image, place, self.memory)
        parts = [lower(relaxed, Dense(rows[part]), image[part], place) for part in cut]
        return torch.cat(parts)


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
    Departure: with the cheap schedule, boxes are intersected with intervals.
    """

    _inner: ClassVar[Inner] = "parallel"
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


@hyperparameters
class CrownIBP(Linear):
    """Intervals for the nodes in between, CROWN's lines for the rows of the specification.

    Guarantee: as `Dual`.
    Cost: three forwards, and a pull of one row for each row of the specification that is open.
    Needs: a graph (or a module, captured at each call); no gradients.
    Source: Zhang et al. 2020, arXiv 1906.06316.
    """

    _inner: ClassVar[Inner] = "interval"
