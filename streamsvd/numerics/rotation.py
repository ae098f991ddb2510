r"""Loadings turned to simple structure: each column with few large entries, the rest near zero.

Loadings are ``L = V diag(sqrt(lambda))``, ``(n, r)``, of a matrix ``B ~ Z L*`` whose columns ``Z`` have variance one. A rotation ``R`` changes
nothing of what they hold together: ``B ~ (Z R) (L R)*`` for orthogonal ``R``, and ``(Z R^-*) (L R)*`` for any that can be inverted.

*Varimax* (Kaiser 1958) is the orthogonal ``R`` that makes the variances of the squares of all columns of ``X = L R`` as large as can be,

.. math::  v(X) = \sum_j \Big[ \frac1n \sum_i |x_{ij}|^4 - \Big(\frac1n \sum_i |x_{ij}|^2\Big)^2 \Big].

It is found plane by plane. Two columns x, y become ``x' = c x + sigma y`` and ``y' = c y - conj(sigma) x``, with ``c^2 + |sigma|^2 = 1``. Put
``h = (|x|^2 - |y|^2, 2 Re conj(x) y, 2 Im conj(x) y)``, row by row, and ``w = (cos 2t, sin 2t cos p, -sin 2t sin p)`` with ``c = cos t`` and
``sigma = sin t exp(i p)``. Then ``|x'|^2 - |y'|^2 = w . h`` and ``|x'|^2 + |y'|^2`` stays, so that

.. math::  v(X') = \text{const} + \tfrac12 \, w^T \operatorname{Cov}(h) \, w .

*Proof.* The first by inserting; then ``|x'|^4 + |y'|^4`` is half the squares of sum and difference, and so are the squares of their means. []

So the best rotation in a plane is the leading eigenvector of a covariance of three numbers, of two where loadings are real (there it is Kaiser's
angle). Each step is the best of its plane: v never falls, and a stationary point that is no maximum of its planes holds nothing up, where
iterations by the gradient (Magnus, Neudecker 1988; Jennrich 2001) stop. As for those, v may have several maxima.

*Kaiser's normalisation* divides each row by its norm first, so that all count alike, and multiplies with it again: R is what is kept.

*Promax* (Hendrickson, White 1964) lets go of orthogonality: the columns of ``X`` are fitted to their own powers ``x |x|^(power - 1)`` by least
squares, which makes small entries smaller. The columns of the fit ``U`` are scaled such that the factors ``Z R^-*`` keep variance one: their
correlations are ``Phi = (R* R)^-1``, with ones on the diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

FLOOR = 16 * UNIT_ROUNDOFF
"""Relative gains below this are rounding: a plane is left as it is."""


@dataclass(frozen=True, slots=True, eq=False)
class PlaneRotations:
    """An orthogonal rotation, and how it was found.

    Attributes
    ----------
    matrix
        ``R``, unitary, ``(r, r)``.
    criteria
        Varimax criterion before the first sweep and after each.
    gain
        Largest relative gain that a plane had in the last sweep.
    """

    matrix: Matrix
    criteria: Real
    gain: float

    @property
    def sweeps(self) -> int:
        """How many there were."""
        return int(self.criteria.size) - 1


def varimax_criterion(L: Matrix) -> float:
    """Sum over the columns of ``(n, r)`` of the variances of the squares."""
    squares = np.abs(L) ** 2
    return float(np.sum(np.mean(squares**2, axis=0) - np.mean(squares, axis=0) ** 2))


def normalise_rows(L: Matrix) -> Matrix:
    """Rows of norm one; those of zeros stay."""
    size = np.linalg.norm(L, axis=1, keepdims=True)
    return np.asarray(np.divide(L, size, out=np.zeros_like(L), where=size > 0))


def varimax(L: Matrix, *, tol: float, max_sweeps: int) -> PlaneRotations:
    """The orthogonal rotation of loadings that makes the varimax criterion a maximum.

    Parameters
    ----------
    L
        Loadings ``(n, r)``, real or complex, finite; not changed.
    tol
        The end: a sweep over all planes in which none gains more than this share of what its plane varies in all.
    max_sweeps
        Most sweeps.

    Notes
    -----
    Cost: about ``7 n r^2`` flops a sweep, and a copy of L; five to ten sweeps as a rule.
    """
    X = np.ascontiguousarray(L.T).astype(np.result_type(L.dtype, np.float64))
    size = float(np.abs(X).max(initial=0.0))
    X = X / size if size > 0 else X  # squares of squares stay numbers
    R = np.eye(X.shape[0], dtype=X.dtype)
    criteria, gain = [varimax_criterion(X.T)], 0.0
    for _ in range(max_sweeps):
        gain = 0.0
        for a, b in combinations(range(X.shape[0]), 2):
            c, sigma, found = plane_rotation(X[a], X[b])
            gain = max(gain, found)
            if found > FLOOR:
                X[[a, b]] = _turn_pair(X[a], X[b], c, sigma)
                R[:, a], R[:, b] = _turn_pair(R[:, a].copy(), R[:, b].copy(), c, sigma)
        criteria.append(varimax_criterion(X.T))
        if gain <= tol:
            break
    with np.errstate(over="ignore", under="ignore"):
        return PlaneRotations(R, np.array(criteria) * np.power(size, 4), gain)


def plane_rotation(x: Matrix, y: Matrix) -> tuple[float, complex | float, float]:
    """``c``, ``sigma`` and the relative gain of the best rotation of two columns."""
    product = np.conj(x) * y
    h = [np.abs(x) ** 2 - np.abs(y) ** 2, 2 * product.real]
    if np.iscomplexobj(product):
        h.append(2 * product.imag)
    H = np.stack(h)
    H -= H.mean(axis=1, keepdims=True)
    C = H @ H.T / max(x.size, 1)
    whole = float(np.trace(C))
    if not whole > 0:
        return 1.0, 0.0, 0.0
    values, vectors = np.linalg.eigh(C)
    w = vectors[:, -1]
    w = -w if w[0] < 0 else w  # of the two that are best, the one that turns less
    c = float(np.sqrt((1 + w[0]) / 2))
    sigma = complex(w[1], -w[2]) / (2 * c) if w.size == 3 else float(w[1]) / (2 * c)
    return c, sigma, max(float(values[-1] - C[0, 0]), 0.0) / whole


def _turn_pair(x: Matrix, y: Matrix, c: float, sigma: complex | float) -> tuple[Matrix, Matrix]:
    return c * x + sigma * y, c * y - np.conj(sigma) * x


def promax_transformation(X: Matrix, power: float) -> Matrix:
    """What turns varimax loadings ``(n, r)`` to oblique ones, ``(r, r)``: ``(U* U)^-1`` has ones on its diagonal.

    Raises
    ------
    ArithmeticError
        If the fit has no inverse: the factors would depend on one another.
    """
    target = X * np.abs(X) ** (power - 1)
    U = np.linalg.lstsq(X, target)[0]
    size = np.linalg.norm(U, axis=0)
    if not (size > 0).all() or np.linalg.cond(U / size) > 1e8:
        raise ArithmeticError("the fit to the powers has no inverse")
    inverse = np.linalg.inv(U)
    return np.asarray(U * np.linalg.norm(inverse, axis=1))  # the diagonal of U^-1 U^-*, its root


def factor_correlation(R: Matrix) -> Matrix:
    """``(R* R)^-1``: correlations of the factors that loadings ``L R`` belong to."""
    inverse = np.linalg.inv(R)
    found = inverse @ inverse.conj().T
    np.fill_diagonal(found, 1.0)
    return np.asarray((found + found.conj().T) / 2)
