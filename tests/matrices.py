"""The matrix that options make of the stored one, dense, and runs that keep what did not converge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import streamsvd
from streamsvd.errors import NotConverged
from streamsvd.numerics.intervals import ZERO_LEVEL


@dataclass
class Rows:
    """A user's own storage in memory, cut into runs of rows."""

    A: Any
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.A.shape

    @property
    def dtype(self) -> Any:
        return self.A.dtype

    @property
    def chunks(self) -> tuple[int, int]:
        return (self.height, self.A.shape[1])

    def read(self, rows: slice) -> Any:
        return self.A[rows]


def prepared(
    A: Any,
    *,
    center: bool = False,
    scale: bool = False,
    row_weights: Any = None,
    column_weights: Any = None,
    nonfinite: str = "raise",
) -> Any:
    """Filled, centred, scaled, weighted: in this order, in float64; what has weight 0 is 0."""
    X = np.asarray(A).astype("complex128" if np.iscomplexobj(A) else "float64")
    m, n = X.shape
    w = np.ones(m) if row_weights is None else np.asarray(row_weights, dtype=float)
    X[w == 0] = 0
    if column_weights is not None:
        X[:, np.asarray(column_weights) == 0] = 0
    gone = np.isnan(X)
    X = np.where(gone, 0, X)
    if nonfinite == "mean":
        there = (w[:, None] * ~gone).sum(axis=0)
        X = np.where(gone, (w @ X) / np.where(there > 0, there, 1), X)
    mean = (w @ X) / w.sum()
    about = X - mean
    about = about - (w @ about) / w.sum()
    d = np.ones(n)
    if scale:
        spread = np.sqrt((w @ np.abs(about) ** 2) / w.sum())
        alive = spread > 1e-13 * np.abs(mean)
        d = np.where(alive, 1 / np.where(alive, spread, 1), 0)
    if column_weights is not None:
        d = d * column_weights
    if nonfinite == "drop_columns":
        d = np.where(gone.any(axis=0), 0, d)
    return np.sqrt(w)[:, None] * (about if center else X) * d


def run(
    A: Any,
    rank: int | None = None,
    *,
    axis: str | None = None,
    route: str | None = None,
    **options: Any,
) -> Any:
    """The result, converged or not, by the axis and route asked for."""
    running = {
        key: options.pop(key) for key in ("seed", "delta", "callback", "out") if key in options
    }
    if "out" in running:
        options["out"] = running["out"]
    plan = streamsvd.plan_svd(A, rank, axis=axis, route=route, **options)
    for key in ("tol", "memory", "certify", "precision", "device"):
        options.pop(key, None)
    try:
        return streamsvd.svd(A, rank, plan=plan, **(options | running))
    except NotConverged as error:
        return error.result


def assert_right(result: Any, X: Any, tol: float = 1e-3, rank: int | None = None) -> None:
    """Against LAPACK: intervals hold, values within the tolerance where converged, factors are factors."""
    size = float(np.abs(X).max()) or 1.0
    _, s, Vh = np.linalg.svd(X / size, full_matrices=False)
    k = result.rank
    if rank is not None:
        assert k == rank
    c, top = result.certificate, max(s[0], 1e-300)
    lower, upper, found = c.sigma_lower / size, c.sigma_upper / size, result.s / size
    truth = np.concatenate([s, np.zeros(max(0, k - s.size))])[:k]
    eps = 1e-14 * top
    assert (lower <= truth * (1 + 1e-12) + eps).all(), (lower - truth).max() / top
    assert (upper >= truth * (1 - 1e-12) - eps).all(), (truth - upper).max() / top
    assert (found >= lower - eps).all()
    assert (found <= upper + eps).all()
    assert (np.diff(found) <= eps).all()
    alive = upper > ZERO_LEVEL * upper[0]
    if result.info.criterion == "values":
        assert c.relative_width <= tol
        assert np.allclose(found[alive], truth[alive], rtol=tol, atol=eps)
    elif result.info.status is streamsvd.Status.CONVERGED:
        assert c.error_vanishes or c.excess <= 1e-2
    V = result.Vh.conj().T
    np.testing.assert_allclose(result.Vh @ V, np.eye(k), atol=1e-9)
    pivots = np.take_along_axis(result.Vh, np.abs(result.Vh).argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (pivots.real > 0).all()
    assert np.abs(pivots.imag).max() < 1e-9
    left = np.linalg.norm(X / size - X / size @ V @ result.Vh)
    assert left <= c.frobenius_error / size * (1 + 1e-9) + 1e-12 * top
    assert c.numerical_rank <= np.count_nonzero(s > 1e-16 * top)
    if np.isfinite(c.subspace_angle_bound) and k < s.size:
        sine = np.linalg.norm(V - Vh[:k].conj().T @ (Vh[:k] @ V), 2)
        assert sine <= c.subspace_angle_bound * (1 + 1e-6) + 1e-7
