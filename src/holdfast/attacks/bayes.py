"""BayesAttack: Bayesian optimisation of a perturbation in few dimensions.

A perturbation is a number u in [0, 1] for each tile and channel; the input moves by eps (2u - 1),
copied to the tiles' pixels. A Gaussian process is fitted to the losses seen so far, and the next
point maximises the expected improvement over the best of them. Meant for budgets of some hundred
queries.

Source: Shukla, Sahu, Willmott and Kolter 2019, arXiv:1909.13857, and 2021, arXiv:2007.07210;
through the package `botorch`. Thesis: Andriushchenko 2024, sec 3.12.2.
Departures: for L2 the perturbation is scaled to the radius, in place of cosine coefficients; the
process is fitted anew only every few queries; the expected improvement is climbed from keyed
starting points, in the logarithm (Ament et al. 2023, arXiv:2310.20708).
"""

import math
import warnings
from typing import Annotated, Any

import torch
from torch import Tensor

from holdfast.attacks.lockstep import LockstepAttack, Oracle
from holdfast.attacks.tiles import check_ball, tile_shape, upsample
from holdfast.core.optional import optional
from holdfast.core.random import Keys
from holdfast.core.recipes import Count, From, Range, hyperparameters
from holdfast.losses.catalogue import LOSSES
from holdfast.losses.margin import Margin
from holdfast.losses.protocol import Loss
from holdfast.threats.protocol import Threat

_STARTS, _CANDIDATES, _MOVES = 3, 128, 30


@hyperparameters
class BayesAttack(LockstepAttack):
    """Expected improvement under a Gaussian process, on tiles.

    Args:
        queries: forward passes of an example at most, besides the clean one and the final check.
        tiles: rows and columns of the grid of tiles.
        initial: random points before the first fit.
        refit: queries between two fits of the process's hyperparameters.
        loss: what is maximised.

    Guarantee: no global generator is read or set.
    Cost: per example at most `queries` + 2 forwards; each query solves with a matrix of as many
        rows as were asked before, and runs one by one on the CPU: about 0.1 s.
    Needs: the extra `blackbox`; a finite Linf or L2 ball.
    Source: Shukla et al. 2019, arXiv:1909.13857.
    """

    queries: Count = 200
    tiles: Count = 6
    initial: Annotated[int, Range(ge=2)] = 5
    refit: Count = 10
    loss: Annotated[Loss, From(LOSSES)] = Margin()

    @property
    def objective(self) -> Loss:
        """The loss."""
        return self.loss

    def check(self, threat: Threat) -> None:
        """Refuses other threats than finite Linf and L2 balls, and a missing extra."""
        check_ball(threat, (math.inf, 2.0), "BayesAttack")
        optional("botorch", extra="blackbox")

    def walk(self, oracle: Oracle) -> None:
        """A few random points, then the most promising one after the other."""
        shape = tile_shape(oracle.x.shape[1:], self.tiles)
        size, left = math.prod(shape), self.queries
        if oracle.start is not None:
            oracle.ask(oracle.start)
            left -= 1
        searches = [_Search(size, oracle.keys[row : row + 1]) for row in range(len(oracle.x))]
        for query in range(left):
            at = oracle.open.nonzero().flatten().tolist()
            if not at:
                return
            u = torch.full((len(oracle.x), size), 0.5, dtype=torch.float64)
            for row in at:
                u[row] = searches[row].propose(query, self.initial, self.refit)
            unit = (2 * u - 1).to(oracle.x).view(-1, *shape)
            losses = oracle.ask(self._point(oracle, unit)).loss.tolist()
            for row in at:
                searches[row].tell(u[row], losses[row])

    def _point(self, oracle: Oracle, unit: Tensor) -> Tensor:
        """The perturbed inputs for tiles (b, C, h, w) in [-1, 1]."""
        threat, x = oracle.threat, oracle.x
        move = upsample(unit, x.shape[1:])
        if threat.p == 2:
            move = threat.steepest(move, threat.reach)
        else:
            move = move * threat.steepest(torch.ones_like(x), threat.reach)
        return threat.project(x + move, x)


class _Search:
    """Bayesian optimisation for one example over [0, 1]^n.

    Args:
        size: n.
        keys: of the one example.
    """

    def __init__(self, size: int, keys: Keys):
        self._size, self._keys = size, keys.to("cpu").fold("bayes")
        self._points = torch.empty(0, size, dtype=torch.float64)
        self._values = torch.empty(0, dtype=torch.float64)
        self._fitted: dict[str, Any] | None = None

    def tell(self, point: Tensor, value: float) -> None:
        """Takes the loss at a point (n,); one that is not finite is left out."""
        if math.isfinite(value):
            self._points = torch.cat([self._points, point[None]])
            self._values = torch.cat([self._values, self._values.new_tensor([value])])

    def propose(self, query: int, initial: int, refit: int) -> Tensor:
        """The next point (n,): random for the first `initial` queries."""
        if query < initial or len(self._values) < 2:
            return self._keys.uniform((self._size,), query)[0].double()
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, values = self._model()
            if self._fitted is None or (query - initial) % refit == 0:
                self._fit(model)
            return self._climb(model, float(values.max()), query)

    def _model(self) -> tuple[Any, Tensor]:
        """The process over standardised losses, with the hyperparameters of the last fit."""
        spread = self._values.std().clamp_min(1e-12)
        values = (self._values - self._values.mean()) / spread
        models = optional("botorch.models", extra="blackbox")
        model = models.SingleTaskGP(self._points, values[:, None], outcome_transform=None)
        if self._fitted is not None:
            model.load_state_dict(self._fitted)
        return model, values

    def _fit(self, model: Any) -> None:
        """Maximises the marginal likelihood, once, from where the last fit ended."""
        fit = optional("botorch.fit", extra="blackbox").fit_gpytorch_mll
        failed = optional("botorch.exceptions.errors", extra="blackbox").ModelFittingError
        likelihoods = optional("gpytorch.mlls", extra="blackbox")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            fit(likelihoods.ExactMarginalLogLikelihood(model.likelihood, model), max_attempts=1)
        except failed:
            model.load_state_dict(before)
        model.eval()
        self._fitted = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def _climb(self, model: Any, best: float, query: int) -> Tensor:
        """The maximiser of the expected improvement, from the best of keyed candidates."""
        acquisition = optional("botorch.acquisition", extra="blackbox")
        generation = optional("botorch.generation.gen", extra="blackbox")
        gain = acquisition.LogExpectedImprovement(model.eval(), best_f=best)
        candidates = self._candidates(query)
        with torch.no_grad():
            first = gain(candidates[:, None]).topk(_STARTS).indices
        points, values = generation.gen_candidates_scipy(
            candidates[first][:, None], gain, 0.0, 1.0, options={"maxiter": _MOVES}
        )
        return points[values.argmax(), 0].detach().clamp(0, 1)

    def _candidates(self, query: int) -> Tensor:
        """Points (m, n): half of them anywhere, half near the best so far."""
        shape = (_CANDIDATES // 2, self._size)
        spread = self._keys.fold("anywhere").uniform(shape, query)[0].double()
        noise = self._keys.fold("near").normal(shape, query)[0].double()
        near = self._points[self._values.argmax()] + 0.1 * noise
        return torch.cat([spread, near.clamp(0, 1)])
