"""Linear bounds for use inside other computations: as forms of the input, and with gradients.

A backward substitution ends in a linear form of the input below each row of a specification,

    <s, f(x')>  >=  <g, x'> + b      for every x' in the threat's set around x,

which `linear_forms` returns before it is concretised: regions around a certificate, radii, cascades
and input splitting are made of (g, b). `linear_bounds` concretises it, row by row, with gradients
in x, in a radius that is a tensor, and in the parameters of the model, for training.

Which unit is open and which line is chosen is constant under the gradient, as in automatic
differentiation of a maximum; where units change sides the bound itself is continuous.

Source: Wong 2020, sec 3.1.2 (the dual network) and 3.3 (training on its bound); Zhang et al. 2018.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.certify.bounds.linear import Linear
from holdfast.certify.graphs.graph import Graph
from holdfast.certify.substitution.regions import Hulled
from holdfast.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Forms:
    """Linear forms of the input, one per row of a specification.

    Args:
        coefficients: (B, R, *E).
        constants: (B, R).
    """

    coefficients: Tensor
    constants: Tensor

    def at(self, x: Tensor) -> Tensor:
        """The values of the forms at points x (B, *E), (B, R)."""
        inner = torch.einsum("brn,bn->br", self.coefficients.flatten(2), x.flatten(1))
        return inner + self.constants


def linear_forms(
    method: Linear,
    model: nn.Module | Graph,
    x: Tensor,
    threat: Hulled,
    spec: Tensor,
    *,
    differentiable: bool = False,
) -> Forms:
    """Linear forms of the input below rows of the logits.

    Args:
        method: Dual, CROWN or CrownIBP; what its mode says of rounding holds here. AlphaCrown gives
            the forms of CROWN.
        model: a captured graph, or a module, which is captured first.
        x: (B, *E).
        threat: as for `method.bound`.
        spec: rows over the logits, (R, K), or (B, R, K) for rows of each example.
        differentiable: keeps the gradients in x, spec, the threat's radius and the parameters.

    Returns:
        Forms in float64 in mode `rigorous`, else in the dtype of x.

    Guarantee: spec @ f(x') >= <coefficients, x'> + constants for every x' that the threat accepts.
        In mode `rigorous` this holds over the real numbers for the numbers returned: the constants
        are lowered by the rounding of the substitution. What a caller computes with them is his.
    Cost: that of `method.bound` with all rows open.

    Raises:
        CaptureError: the module holds an operation that is not supported.
        InputError: the method estimates; x or spec does not fit the model; the threat around x is
            empty.
        UnsupportedThreat: the threat has no hull, or no support function.

    Example:
        >>> from holdfast.certify import CROWN
        >>> from holdfast.threats import Linf
        >>> model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.ones(1, 4)
        >>> forms = linear_forms(CROWN(), model, x, Linf(0.1), torch.eye(2))
        >>> bool((forms.at(x.double()) <= model(x) + 1e-6).all())
        True
    """
    _check_that_it_proves(method)
    keep = differentiable
    problem = method.posed(
        model, x if keep else x.detach(), threat, spec if keep else spec.detach()
    )
    with torch.set_grad_enabled(keep), problem.kernels():
        parts = [method.forms(known, rows) for known, rows in method.known(problem)]
    coefficients, constants = (torch.cat(each) for each in zip(*parts, strict=True))
    shape = problem.rows.shape[:2]
    return Forms(coefficients.view(*shape, *x.shape[1:]), constants.view(shape))


def linear_bounds(
    method: Linear, model: nn.Module | Graph, x: Tensor, threat: Hulled, spec: Tensor
) -> Tensor:
    """Lower bounds (B, R) of rows of the logits, the same as `method.bound`, with gradients.

    Differentiable in x, spec, a radius of the threat that is a tensor, and the parameters of the
    model. A row that intervals prove positive has the gradient of its interval.

    Args:
        method: Dual, CROWN or CrownIBP.

    Cost: as `method.bound`, and about twice that for the gradient; one coefficient per open unit
        and per unit that it sees is kept for it.

    Raises:
        InputError: the method estimates (`projected_bounds` has gradients for such); otherwise as
            `linear_forms`.
    """
    _check_that_it_proves(method)
    problem = method.posed(model, x, threat, spec)
    with torch.enable_grad(), problem.kernels():
        return torch.cat([method.rows(known, rows) for known, rows in method.known(problem)])


def _check_that_it_proves(method: Linear) -> None:
    """What is made of forms would certify: radii, envelopes, regions."""
    if not method.proves:
        name = type(method).__name__
        raise InputError("method", name, "only estimates", "give Dual, CROWN or CrownIBP")
