"""Ridge regression on a feature map: from sums in one pass, or by conjugate gradients with one pass an iteration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamsvd.drivers.kernel.jobs import Products, Summing, Targets, held_out_errors
from streamsvd.drivers.kernel.nystrom import Nystrom
from streamsvd.drivers.kernel.passes import Passes
from streamsvd.errors import SpecError
from streamsvd.leverage import FeatureMap
from streamsvd.leverage.conjugate import Descent, Preconditioner, advanced, begun
from streamsvd.leverage.ridge import JUDGES, best_ridge, coefficients
from streamsvd.typing import Matrix, Real

TOL, MAX_PASSES = 1e-3, 30
TRIED = 10.0 ** np.arange(-2.0, 4.0)
"""Multiples of the dictionary's ridge that conjugate gradients try at once where none is given."""


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A regression.

    Attributes
    ----------
    beta
        Coefficients of the features, ``(r, q)``.
    ridge
        Given or chosen.
    squared_error
        Of each target on the rows that judge, under the fit without them, ``(q,)``.
    n_judges
        Rows that judge.
    left
        ``trace(K - K_C)``.
    residuals
        Relative residuals of the final fit before its first pass and after each; none where it was direct.
    """

    beta: Matrix
    ridge: float
    squared_error: Real
    n_judges: int
    left: float
    residuals: tuple[float, ...] = ()


def direct(passes: Passes, found: Nystrom, targets: Targets, ridge: float | None) -> Solution:
    """One pass for the sums of products of features, then any ridge."""
    job = Summing(passes.arrangement.rows, found.feature_map, targets, products=True)
    sums = passes.once("sums", job)
    if ridge is None:
        ridge = best_ridge(sums.train, sums.held_out)[0]
    error = sums.held_out.error(coefficients(sums.train, ridge))
    beta = coefficients(sums.train.merge(sums.held_out), ridge)
    return Solution(beta, ridge, error, sums.held_out.n_rows, sums.left)


def streamed(
    passes: Passes,
    found: Nystrom,
    targets: Targets,
    ridge: float | None,
    tol: float,
    max_passes: int,
) -> Solution:
    """A pass for the right-hand side, then one for each iteration: nothing square but the preconditioner.

    Where rows judge, the fit without them comes first, for several ridges at once if none was given; the final one,
    of all rows, goes on from it.
    """
    map_ = found.feature_map
    by = Preconditioner.of(map_, found.rows, found.weights)
    job = Summing(passes.arrangement.rows, map_, targets, products=False)
    sums = passes.once("right-hand side", job)
    if ridge is None and sums.held_out.n_rows < JUDGES:
        raise SpecError(
            f"held_out={targets.held_out} leaves {sums.held_out.n_rows} rows to choose a ridge by. Pass ridge=, or solver='direct'."
        )
    tried = np.array([ridge]) if ridge is not None else found.gamma * TRIED
    q = targets.values.shape[1]
    run = _Run(passes, map_, by, tol, max_passes)
    everything = sums.train.r + sums.held_out.r
    if sums.held_out.n_rows == 0:
        final = run.solved("fit", everything, np.repeat(tried, q), targets)
        return Solution(final.x, float(tried[0]), np.full(q, np.nan), 0, sums.left, final.residuals)
    columns = np.repeat(tried, q)
    first = run.solved(
        "fit without judges", np.tile(sums.train.r, (1, tried.size)), columns, targets
    )
    train, judged = run.products("judgement", first.x, targets)
    errors = held_out_errors(sums.held_out, first.x, judged, tried.size).reshape(tried.size, q)
    best = int(np.argmin(errors.sum(axis=1)))
    mine = slice(best * q, (best + 1) * q)
    start = (first.x[:, mine], train[:, mine] + judged[:, mine])
    whole = Targets(targets.values, 0.0, targets.seed)
    final = run.solved("fit", everything, columns[mine], whole, start)
    return Solution(
        final.x, float(tried[best]), errors[best], sums.held_out.n_rows, sums.left, final.residuals
    )


@dataclass(slots=True, eq=False)
class _Run:
    """Iterations, each saved."""

    passes: Passes
    map_: FeatureMap
    by: Preconditioner
    tol: float
    max_passes: int

    def products(self, name: str, V: Matrix, targets: Targets) -> tuple[Matrix, Matrix]:
        job = Products(self.passes.arrangement.rows, self.map_, targets, V, judges=True)
        return self.passes.once(name, job)

    def solved(
        self,
        name: str,
        b: Matrix,
        ridges: Real,
        targets: Targets,
        start: tuple[Matrix, Matrix] | None = None,
    ) -> Descent:
        """Until the residual is small enough, or the passes are used up."""
        saves = self.passes.saves
        state: Descent | None = None if saves is None else saves.values.get(name)
        state = begun(b, ridges, self.by, start) if state is None else state
        while state.residual > self.tol and len(state.residuals) <= self.max_passes:
            job = Products(self.passes.arrangement.rows, self.map_, targets, state.p, judges=False)
            product, _ = self.passes(f"{name}, iteration {len(state.residuals)}", job)
            state = advanced(state, product, ridges, self.by)
            self.passes.keep(name, state)
        return state
