"""Ridge regression on a feature map: from sums in one pass, or by conjugate gradients with one pass an iteration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from streamsvd.engine.run import Run
from streamsvd.errors import SpecError
from streamsvd.kernels.mathematics import FeatureMap
from streamsvd.kernels.mathematics.conjugate import (
    Preconditioner,
    RidgeDescent,
    advance_descent,
    start_descent,
)
from streamsvd.kernels.mathematics.ridge import JUDGES, best_ridge, coefficients, largest_within
from streamsvd.kernels.nystrom import NystromResult
from streamsvd.kernels.options import KernelRidgeOptions
from streamsvd.kernels.passes import ProductPass, RidgeSumPass, held_out_errors
from streamsvd.kernels.targets import Targets
from streamsvd.typing import Matrix, Real

RIDGES, FINEST = 8, 1e-9
"""Ridges that conjugate gradients try at once where none is given, and the finest of the largest eigenvalue."""


@dataclass(frozen=True, slots=True, eq=False)
class RidgeSolution:
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


def solve_directly(
    run: Run, found: NystromResult, targets: Targets, options: KernelRidgeOptions
) -> RidgeSolution:
    """One pass for the sums of products of features, then any ridge."""
    ridge = options.ridge
    sums = run.once("sums", RidgeSumPass(found.feature_map, targets, products=True))
    train, held_out = targets.plain(sums.train), targets.plain(sums.held_out)
    if ridge is None:
        ridge = best_ridge(train, held_out)[0]
    error = held_out.error(coefficients(train, ridge))
    beta = coefficients(targets.about_whole(sums.train.merge(sums.held_out)), ridge)
    return RidgeSolution(beta, ridge, error, held_out.n_rows, sums.left)


def solve_by_gradients(
    run: Run, found: NystromResult, targets: Targets, options: KernelRidgeOptions
) -> RidgeSolution:
    """A pass for the right-hand side, then one for each iteration: nothing square but the preconditioner.

    Where rows judge, the fit without them comes first, for several ridges at once if none was given; the final one,
    of all rows, goes on from it.
    """
    map_, ridge = found.feature_map, options.ridge
    by = Preconditioner.of(map_, found.rows, found.weights)
    sums = run.once("right-hand side", RidgeSumPass(map_, targets, products=False))
    if ridge is None and sums.held_out.n_rows < JUDGES:
        raise SpecError(
            f"held_out={targets.held_out} leaves {sums.held_out.n_rows} rows to choose a ridge by. Pass ridge=, or solver='direct'."
        )
    tried = np.array([ridge]) if ridge is not None else tried_ridges(by, found.gamma)
    q = targets.count
    descent = _Descent(run, map_, by, options.tol, options.max_passes)
    everything = targets.about_whole(sums.train.merge(sums.held_out)).r
    train, held_out = targets.plain(sums.train), targets.plain(sums.held_out)
    if sums.held_out.n_rows == 0:
        final = descent.solve("fit", everything, np.repeat(tried, q), targets)
        return RidgeSolution(
            final.x, float(tried[0]), np.full(q, np.nan), 0, sums.left, final.residuals
        )
    columns = np.repeat(tried, q)
    first = descent.solve("fit without judges", np.tile(train.r, (1, tried.size)), columns, targets)
    trained, judged = run.once("judgement", ProductPass(map_, targets, first.x, judges=True))
    errors = held_out_errors(held_out, first.x, judged, tried.size).reshape(tried.size, q)
    best = largest_within(errors.sum(axis=1).tolist(), sums.held_out.n_rows)
    mine = slice(best * q, (best + 1) * q)
    start = (first.x[:, mine], trained[:, mine] + judged[:, mine])
    whole = replace(targets, held_out=0.0)
    final = descent.solve("fit", everything, columns[mine], whole, start)
    return RidgeSolution(
        final.x, float(tried[best]), errors[best], sums.held_out.n_rows, sums.left, final.residuals
    )


def tried_ridges(by: Preconditioner, gamma: float) -> Real:
    """From a tenth of the largest eigenvalue down, evenly in logarithms, to where the dictionary is accurate."""
    top = float(by.values[-1]) if by.values.size and by.values[-1] > 0 else 1.0
    least = min(max(gamma, FINEST * top), top / 100)
    return np.asarray(np.geomspace(top / 10, least, RIDGES))


@dataclass(frozen=True, slots=True, eq=False)
class _Descent:
    """Iterations, each saved."""

    run: Run
    map_: FeatureMap
    by: Preconditioner
    tol: float
    max_passes: int

    def solve(
        self,
        name: str,
        b: Matrix,
        ridges: Real,
        targets: Targets,
        start: tuple[Matrix, Matrix] | None = None,
    ) -> RidgeDescent:
        """Until the residual is small enough, or the passes are used up."""
        state: RidgeDescent | None = self.run.saved_value(name, None)
        if state is None:
            state = start_descent(b, ridges, self.by, start)
        else:  # what a run before it made counts, as the result rests on it
            self.run.saved_passes += len(state.residuals) - 1
        while state.residual > self.tol and len(state.residuals) <= self.max_passes:
            pass_ = ProductPass(self.map_, targets, state.p, judges=False)
            product, _ = self.run(pass_, f"{name}, iteration {len(state.residuals)}")
            state = advance_descent(state, product, ridges, self.by)
            self.run.keep(name, state)
        return state
