r"""From a dictionary to few centres and a feature map, and what is known of the error.

The dictionary's weighted matrix ``B = W^{1/2} K_DD W^{1/2}`` stands for ``K`` at the resolution ``gamma``. Greedy pivoted
Cholesky on it picks the centres C, and the map is ``z(x) = L_r^{-1/2} U_r* k_C(x)`` from ``K_CC = U L U*``, eigenvalues that
are rounding left out, so that ``z(x).z(y)`` is the Nyström approximation ``k_C(x)* K_CC^+ k_C(y)``. For every C,
``0 <= K - K_C``: so the trace that a pass over the rows sums, ``tr K - sum |z(x)|^2``, bounds the spectral norm of the error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.checks.masks import as_array
from streamsvd.errors import ShapeError, SpecError
from streamsvd.kernels.mathematics.dictionary import Dictionary, DictionaryOptions
from streamsvd.kernels.mathematics.kernel import Kernel
from streamsvd.kernels.mathematics.resolution import check_definite
from streamsvd.numerics.columns import Columns
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

ACTUAL = 2.5
"""What remains of the whole over what remains of the dictionary, as observed."""
POWER_STEPS = 30


@dataclass(frozen=True, slots=True, eq=False)
class Pivots:
    """Centres by their places in the dictionary, and what they leave of its weighted matrix.

    Attributes
    ----------
    places
        In the order of choice.
    left_norm, left_trace
        ``||B - F F*||_2`` and its trace.
    """

    places: npt.NDArray[np.intp]
    left_norm: float
    left_trace: float


def pivots(spec: DictionaryOptions, state: Dictionary, count: int) -> Pivots:
    """Greedy pivoted Cholesky of the weighted Gram matrix: the row of the largest remaining diagonal, again and again.

    Notes
    -----
    Cost: ``m count^2`` flops and ``m count`` kernel entries; no data are read.
    """
    w = state.weights(spec)
    root = np.sqrt(w)
    d = w * spec.kernel.diagonal(state.rows)
    total = float(d.sum())
    F = np.zeros((state.size, min(count, state.size)))
    chosen: list[int] = []
    for j in range(F.shape[1]):
        i = int(np.argmax(d))
        if d[i] <= 0 or float(d.sum()) <= 1e-12 * total:
            break
        column = root * spec.kernel(state.rows, state.rows[i : i + 1])[:, 0] * root[i]
        column -= F[:, :j] @ F[i, :j]
        F[:, j] = column / np.sqrt(max(float(column[i]), np.finfo(float).tiny))
        d = np.maximum(d - F[:, j] ** 2, 0.0)
        d[i] = 0.0
        chosen.append(i)
    B = spec.kernel.gram(state.rows) * root[:, None] * root
    F = F[:, : len(chosen)]
    left = B - F @ F.T
    return Pivots(np.array(chosen, dtype=np.intp), _norm(left), float(d.sum()))


def _norm(left: Matrix) -> float:
    """Spectral norm of a semidefinite matrix within some per cent, from below, by the power method."""
    if not left.any():
        return 0.0
    exponent = int(np.frexp(np.abs(left).max())[1])
    left = np.ldexp(left, -exponent)  # squares of kernels of large rows are no numbers
    v = np.sqrt(np.maximum(np.diagonal(left), 0.0))
    value = 0.0
    for _ in range(POWER_STEPS):
        size = float(np.linalg.norm(v))
        if size == 0:
            break
        v = left @ (v / size)
        value = max(value, float(np.linalg.norm(v)))
    return float(np.ldexp(value, exponent))


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class FeatureMap:
    """``z(x)``, of as many features as ``K_CC`` has rank.

    Attributes
    ----------
    kernel, centres
        The kernel, and rows ``(M, d)``.
    whitening
        ``U_r L_r^{-1/2}``, ``(M, r)``.
    columns
        Which columns of the rows that are given take part, those of the centres; None for all.
    """

    kernel: Kernel
    centres: Matrix
    whitening: Matrix
    columns: Columns | None = None

    @property
    def width(self) -> int:
        """Length of the rows that are given."""
        return int(self.centres.shape[1]) if self.columns is None else self.columns.count

    @classmethod
    def of(cls, kernel: Kernel, centres: Matrix) -> FeatureMap:
        """From centres; directions of numerical rank only."""
        if centres.shape[0] == 0:
            return cls(kernel, centres, np.zeros((0, 0)))
        values, U = linalg.eigh(kernel.gram(centres), driver="evd", check_finite=False)
        check_definite(float(values[0]), float(np.sum(np.abs(values))))
        keep = values > values.size * 2 * UNIT_ROUNDOFF * max(float(values[-1]), 0.0)
        return cls(kernel, centres, U[:, keep][:, ::-1] / np.sqrt(values[keep][::-1]))

    def over(self, columns: Columns | None) -> FeatureMap:
        """The map for rows of which these columns take part; the same object, with what a device keeps of it, where they do."""
        return self if columns is self.columns else replace(self, columns=columns)

    @property
    def n_features(self) -> int:
        """Length of ``z(x)``."""
        return int(self.whitening.shape[1])

    def __call__(self, X: Matrix) -> Matrix:
        """Features of rows ``(p, d)``: ``(p, r)``.

        Raises
        ------
        ShapeError, SpecError
            If they are no rows of so many finite real numbers.
        """
        X = as_array(X)
        if X.ndim != 2 or X.shape[1] != self.width:
            raise ShapeError(
                f"rows of shape {X.shape} came; the map is of rows of {self.width} numbers."
            )
        if X.dtype.kind not in "fiub":
            raise SpecError(f"rows of type {X.dtype} came. Pass real numbers.")
        if self.columns is not None:
            X = self.columns.take(X)
        X = X.astype(np.float64, copy=False)
        if not np.isfinite(X).all():
            i = int(np.argmax(~np.isfinite(X).all(axis=1)))
            raise SpecError(f"row {i} holds NaN or Inf. Mend or leave out the row.")
        if self.centres.shape[0] == 0:
            return np.zeros((X.shape[0], 0))
        return np.asarray(self.kernel(X, self.centres) @ self.whitening)

    def remaining(self, X: Matrix) -> tuple[float, float]:
        """What the centres leave of the trace of ``K`` over some rows, and that trace."""
        return float(remaining(self, X).sum()), float(self.kernel.diagonal(X).sum())


def remaining(map_: FeatureMap, X: Matrix) -> Real:
    """``k(x, x) - |z(x)|^2`` of each row, at least 0: what the centres leave of it."""
    Z, whole = map_(X), map_.kernel.diagonal(X)
    left = whole - np.einsum("ij,ij->i", Z, Z)
    check_definite(float(left.min(initial=0.0)), 100 * float(whole.max(initial=0.0)))
    return np.asarray(np.maximum(left, 0.0))
