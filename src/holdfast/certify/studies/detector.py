"""A detector of adversarial examples that misses none: what is not certified is flagged.

An input x with prediction k is accepted where every margin of k over another class is proved
positive on the threat's set around x. Norm balls are symmetric: if x was made from some x* within
the radius, then x* lies in the ball around x, so that an accepted x has f(x*) = f(x). Whatever was
moved across a decision boundary is flagged; so may be clean inputs near one, or ones of which the
bound is loose.

Source: Wong and Kolter 2018, arXiv 1711.00851, Cor. 2; Wong 2020, sec 3.1.5, Cor. 2.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Dual
from holdfast.certify.catalogue import BOUNDS
from holdfast.certify.graphs.graph import Graph, capture
from holdfast.certify.radii.radius import Bounding
from holdfast.certify.spec import certified, margin_rows
from holdfast.core.errors import InputError, UnsupportedThreat, described
from holdfast.core.recipes import From, hyperparameters
from holdfast.threats.base import Ball


@dataclass(frozen=True, eq=False)
class Flags:
    """What a detector says of inputs.

    Args:
        flagged: (B,) whether the input could have been moved across a boundary.
        prediction: (B,) the model's class of the input as it is.
        margin: (B,) the smallest bound of its margin over the threat.
        sound: whether rounding is accounted for, so that nothing is missed.
    """

    flagged: Tensor
    prediction: Tensor
    margin: Tensor
    sound: bool

    @property
    def rate(self) -> float:
        """The share that is flagged; of clean inputs, the false positive rate."""
        return float(self.flagged.double().mean())


@hyperparameters
class Detector:
    """Flags every input that could be an adversarial example of a threat.

    Args:
        bounds: the method that certifies; its mode `rigorous` makes the guarantee a proof.

    Guarantee: for every x that is not flagged and every valid x* with x in the threat around x*,
        the model's class of x* is that of x. There are no false negatives; the tolerance with which
        threats contain points is covered.
    Cost: one bound of K - 1 rows per input.
    Needs: what `bounds` needs; a norm ball with one radius, or one per feature, for all inputs.
    Source: Wong and Kolter 2018, Cor. 2.
    Departure: margins have to be above zero, strictly.
    """

    bounds: Annotated[Bounding, From(BOUNDS)] = Dual()

    def flag(self, model: nn.Module | Graph, x: Tensor, threat: Ball) -> Flags:
        """Which inputs are flagged.

        Args:
            model: a captured graph, or a module, which is captured first.
            x: (B, *E), clean or not: it need not be known which.
            threat: what an adversary may have done; his start, unknown, lies in its box.

        Raises:
            UnsupportedThreat: no norm ball, so that it may not be symmetric.
            InputError: one radius for each example, which may not be that of the unknown start.

        Example:
            >>> from holdfast.threats import Linf
            >>> model = nn.Linear(1, 2)
            >>> with torch.no_grad():
            ...     _ = model.weight.copy_(torch.tensor([[1.0], [-1.0]])), model.bias.zero_()
            >>> x = torch.tensor([[0.5], [0.05]])
            >>> Detector().flag(model, x, Linf(0.1, box=None)).flagged
            tensor([False,  True])
        """
        _check_symmetric(threat)
        graph = model if isinstance(model, Graph) else capture(model, x.shape[1:])
        graph.check_input(x)
        with torch.no_grad():
            prediction = graph.forward(x).argmax(dim=1)
        rows = margin_rows(prediction, graph.output_shape[0]).to(x)
        found = self.bounds.bound(graph, x, threat, rows)
        return Flags(~certified(found), prediction, found.lower.amin(dim=1), found.sound)


def _check_symmetric(threat: object) -> None:
    """Raises unless x' lies in the threat around x exactly if x lies in that around x'."""
    if not isinstance(threat, Ball):
        problem = f"{type(threat).__name__} may not be symmetric, so that nothing is guaranteed"
        raise UnsupportedThreat(f"{problem}; use a norm ball, such as linf:0.1")
    radius = threat.radius
    if isinstance(radius, Tensor) and radius.numel() > 1 and (radius.ndim == 1 or len(radius) > 1):
        found = described(f"tensor of shape {tuple(radius.shape)}")
        remedy = "give one number, or a tensor (1, *E) with one radius per feature"
        raise InputError("threat", found, "has one radius for each example", remedy)
