"""Intervals of the eigenvalues of ``B = A* A`` between the two matrices of `streamsvd.numerics.sides`.

Ordered eigenvalues of both sides bracket those of ``B``, *all of them*: nothing larger is missed. The vectors are
those of the lower side.

What is added to ``A`` later may cancel what the shift took from directions that were left out: as a summand the
k pairs of the left side are worth ``V diag(lower) V* <= B + deficit I``, where ``deficit`` is how far below zero
the left side, at the smallest ``tau`` of use, less those pairs lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg

from streamsvd.numerics.eigen import leading_eigenpairs, smallest_eigenvalue
from streamsvd.numerics.ritz import Residual, Ritz, residual, spectral_norm
from streamsvd.numerics.sides import UNIT_ROUNDOFF, Sides, sides
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class Bracket:
    """Intervals of the eigenvalues of ``B``, and the vectors that attain the lower ends.

    Attributes
    ----------
    lower, upper
        ``lower[i] <= lambda_i(B) <= upper[i]``, descending, ``(count,)`` and ``(count + 1,)``.
    vectors
        Orthonormal, ``(n, j)`` with ``j <= count``; ``norm(A @ vectors)**2 >= sum(lower[:j])``.
    values
        Nyström eigenvalues without the shift: the best guess, inside the interval, ``(count,)``.
    deficit
        ``vectors diag(lower) vectors* <= B + deficit I``.
    next_lower
        Lower end of the eigenvalue after the last.
    sides, left, drift
        The matrices that the ends come from, the coordinates of the vectors of positive lower ends in their basis, and
        how far these are from what was handed back; None, None and 0 where the eigenvectors are those of ``B`` itself.
    """

    lower: Real
    upper: Real
    vectors: Matrix
    values: Real
    deficit: float
    next_lower: float = 0.0
    sides: Sides | None = None
    left: Matrix | None = None
    drift: float = 0.0

    def norm_left(self, rank: int) -> float:
        """Bound of ``||A - A W W*||_2^2`` for the first ``rank`` of the vectors, ``W``."""
        if self.sides is None or self.left is None:
            return float(self.upper[rank]) + self.deficit
        squared = self.sides.norm_without(self.left[:, :rank])
        # ||A Q|| moves by no more than ||A|| times what the projector moves by.
        return float((np.sqrt(squared) + self.drift * np.sqrt(max(self.upper[0], 0.0))) ** 2)


@dataclass(frozen=True, slots=True, eq=False)
class BracketEnds:
    """Intervals of the leading eigenvalues, without vectors.

    Attributes
    ----------
    sides
        The matrices between which ``B`` lies.
    lower, upper, next_lower, values
        As in `Bracket`; the guesses are not inside yet.
    left
        Eigenvectors of the lower side in ``[V, Q_R]``, ``(L + j, count)``.
    """

    sides: Sides
    lower: Real
    upper: Real
    next_lower: float
    values: Real
    left: Matrix


def bracket_ends(both: Sides, *, count: int) -> BracketEnds:
    """Ends of the ``count`` leading eigenvalues; two eigenproblems of size ``2 L``."""
    L, outside = both.theta.size, both.F.shape[0]
    n = L + outside + both.rest
    low, shift = both.below()
    wanted = min(count, L)
    values, left = leading_eigenpairs(low, min(count + 1, low.shape[0]))
    next_lower = max(float(values[count]), 0.0) if values.size > count else 0.0
    values, left = values[:wanted], left[:, :wanted]
    lower, guess = np.zeros(count), np.zeros(count)
    lower[:wanted] = np.maximum(values, 0.0)
    guess[:wanted] = values + np.sum(np.abs(left) ** 2 * shift[:, None] / 2, axis=0)
    high = both.above(both.beta + both.tau)
    values = linalg.eigh(high, eigvals_only=True, overwrite_a=True, check_finite=False)[::-1]
    upper = np.zeros(count + 1)
    size = min(L + outside, n)
    upper[: min(size, count + 1)] = values[: min(size, count + 1)]
    if both.rest:  # directions that no product has touched: beta bounds them
        upper = np.maximum(upper, both.beta + both.tau)
    return BracketEnds(both, lower, np.maximum(upper, 0.0), next_lower, guess, left)


def bracket_with_vectors(
    found: BracketEnds, ritz: Ritz, known: Residual, *, noise: Real
) -> Bracket:
    """The same with the vectors that attain the lower ends, and what they are worth as a summand."""
    both, left, count = found.sides, found.left, found.lower.size
    L, wanted, top = both.theta.size, left.shape[1], both.top
    outside = both.F.shape[0]
    low, _ = both.below()
    if outside:
        finest = max(float(np.max(noise)), UNIT_ROUNDOFF * top)
        low, _ = replace(both, gamma=noise + noise**2 / finest, tau=finest).below()
    deficit = max(-smallest_eigenvalue(low - (left * found.lower[:wanted]) @ left.conj().T), 0.0)
    deficit += 16 * UNIT_ROUNDOFF * top
    positive = int(np.count_nonzero(found.lower > 0))
    vectors = ritz.V @ left[:L]
    if outside:
        vectors += known.times(left[L:])
    real = vectors[:, :positive]
    drift = spectral_norm(real.conj().T @ real - np.eye(positive))
    # Q_R is orthogonal to V only as far as residuals exceed rounding: vectors of values near zero need it.
    vectors = linalg.qr(vectors, mode="economic", overwrite_a=True, check_finite=False)[0]
    guess = np.clip(found.values, found.lower, np.maximum(found.upper[:count], found.lower))
    in_order = np.sort(guess)[::-1]  # and still inside
    return Bracket(
        found.lower,
        found.upper,
        vectors,
        in_order,
        deficit,
        found.next_lower,
        both,
        left[:, :positive],
        drift,
    )


def bracket_eigenvalues(ritz: Ritz, *, beta: float, noise: Real, count: int) -> Bracket:
    """Bracket of the leading eigenvalues of ``B`` by the two matrices of `streamsvd.numerics.sides`.

    Parameters
    ----------
    ritz
        Compression of ``B`` to a basis of L columns.
    beta
        Upper bound of ``||P B P||``, the norm of ``B`` on the complement of the basis.
    noise
        ``mu g``, the bound of the rounding of each column, ``(L,)``.
    count
        Leading eigenvalues wanted, at most n.

    Notes
    -----
    Cost: one QR of ``n x L`` and three eigenproblems of size ``2 L``.
    """
    known = residual(ritz)
    found = bracket_ends(sides(ritz, known.F, beta=beta, noise=noise), count=count)
    return bracket_with_vectors(found, ritz, known, noise=noise)
