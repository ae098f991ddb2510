"""What is proved of a factorisation: intervals of its singular values, and what follows from them.

**Excess.** For orthonormal ``V_k``, ``||A - A V_k V_k*||_F^2 = E - ||A V_k||_F^2`` with ``E = ||A||_F^2``, and no factors of
rank k do better than ``E - KF_k(B)``. With ``cap <= ||A V_k||_F^2``, the sum of the lower ends, and ``K >= KF_k(B)``
(`streamsvd.numerics.kyfan`), the error is at most ``1 + excess = sqrt((E - cap) / (E - K))`` times the best: this needs no gap, and
holds where single values inside a bulk cannot be told apart.

**Zero is relative.** Where the mean was taken out, each entry is right to the rounding of the one that was stored. So with
``zero``, what that rounding can amount to in the norm of the matrix, ``energy <= zero^2`` says nothing but rounding: the
matrix counts as zero, and its values lie in ``[0, tiny]``.

**Entries that were rounded.** Where the matrix that was read is one that is meant and an error of at most ``moved`` in the
Frobenius norm, no singular value moves by more (Weyl), nor do ``||A V||_F`` and the root of ``KF_k``, which are norms of ``A``. What is
certified is that of the matrix meant.

**Several looks.** Statements of all looks hold together. So the intervals are intersected and the least ``K`` is kept; what
belongs to vectors (``cap``, the errors, the deficit, angles) stays with those that are handed back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from streamsvd.numerics.bracket import Bracket
from streamsvd.numerics.intervals import (
    ZERO_LEVEL,
    Group,
    leading_run,
    relative_widths,
    touching_groups,
    worst_width,
)
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.options import TOL
from streamsvd.typing import Real


class Kind(Enum):
    """How far a certificate can be trusted."""

    BOUNDS = "bounds"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What is proved of a rank-k factorisation ``A ~ U diag(s) Vh``.

    Every field is deterministic but ``sigma_upper`` and what derives from it, and the measured share of
    rounding: together they fail with probability at most ``failure_probability`` over the probes.
    With ``kind == Kind.ESTIMATE`` nothing is proved, and the same fields are estimates.

    Attributes
    ----------
    sigma_lower, sigma_upper
        Interval of each of the k leading singular values, shape ``(k,)``; no larger one is missed.
    frobenius_error
        Upper bound of ``||A - A Vh* Vh||_F``, the error with the best ``U`` for this ``Vh``.
    energy
        ``||A||_F**2`` of the matrix as factorised (centred, scaled, weighted); ``inf`` or 0 where float64 does not hold it.
    failure_probability
        Probability over the probes that an upper bound does not hold.
    subspace_angle_bound
        Upper bound of the sine of the largest angle between the span of ``Vh`` and that of the true
        leading right singular vectors; ``inf`` where no gap after the k-th value could be proved.
    orthogonality
        ``||Vh Vh* - I||_2`` of the factors delivered.
    rounding
        Bound ``nu`` of the effect of floating point on eigenvalues of ``A* A``, relative to the largest.
    tail
        Bound of the norm of ``A`` outside the searched space, relative to the largest singular value.
    numerical_rank
        How many of the k values are proved to be positive.
    deficit
        ``Vh* diag(sigma_lower**2) Vh`` exceeds ``A* A`` by at most this in any direction: what counts once other
        rows are added to ``A``.
    kind
        Whether the fields are bounds or estimates.
    excess
        ``||A - A Vh* Vh||_F`` is at most ``1 + excess`` times the error of the best factors of this rank; ``inf`` where
        nothing of the kind is proved.
    spectral_error
        Upper bound of ``||A - A Vh* Vh||_2``.
    next_lower
        Lower end of the interval of the value after the k-th: no factors of this rank have a smaller spectral error.
    resolved_angle_bound
        As ``subspace_angle_bound``, for the leading `resolved_count` vectors; ``inf`` where there are none.
    tol
        Relative width at which a value counts as resolved.
    zero
        Values of at most this count as zero: they are rounding of the data before the mean was taken out.
    frobenius_norm
        ``||A||_F``, right where its square is no number of float64; the root of ``energy`` if left out.
    """

    sigma_lower: Real
    sigma_upper: Real
    frobenius_error: float
    energy: float
    failure_probability: float
    subspace_angle_bound: float
    orthogonality: float
    rounding: float
    tail: float
    numerical_rank: int
    deficit: float
    kind: Kind
    excess: float = float("inf")
    spectral_error: float = float("inf")
    next_lower: float = 0.0
    resolved_angle_bound: float = float("inf")
    tol: float = TOL
    zero: float = 0.0
    frobenius_norm: float = float("nan")

    def __post_init__(self) -> None:
        if np.isnan(self.frobenius_norm):
            object.__setattr__(self, "frobenius_norm", float(np.sqrt(self.energy)))

    @property
    def vanishes(self) -> bool:
        """Whether the matrix is zero, or no more than the rounding of the data it was made of."""
        return self.frobenius_norm <= self.zero

    @property
    def widths(self) -> Real:
        """``(sigma_upper - sigma_lower) / sigma_upper`` of each value, 0 for those that are numerically zero."""
        return relative_widths(self.sigma_lower, self.sigma_upper, self.zero)

    @property
    def resolved(self) -> npt.NDArray[np.bool_]:
        """Which of the values are known to within ``tol``, ``(k,)``."""
        return np.asarray(self.widths <= self.tol)

    @property
    def resolved_count(self) -> int:
        """How many leading values are resolved, without a gap between them that is not."""
        return leading_run(self.resolved)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The values in runs whose intervals touch: values of one group are not told apart from one another."""
        return touching_groups(self.sigma_lower, self.sigma_upper)

    @property
    def spectral_excess(self) -> float:
        """``spectral_error`` is at most ``1 + spectral_excess`` times the best of this rank; ``inf`` if not proved."""
        if self.spectral_error <= 0:
            return 0.0
        return self.spectral_error / self.next_lower - 1 if self.next_lower > 0 else float("inf")

    @property
    def error_vanishes(self) -> bool:
        """Whether the error is no more than squares of float64 data can tell from zero: the factors hold everything."""
        return self.frobenius_error <= max(ZERO_LEVEL * self.frobenius_norm, self.zero)

    @property
    def captured_of_best(self) -> float:
        """Energy of the factors, at least, relative to the most that any of this rank can hold."""
        if self.vanishes:
            return 1.0
        if not np.isfinite(self.excess):
            return 0.0
        lost = (self.frobenius_error / self.frobenius_norm) ** 2
        return max(0.0, (1 - lost) / max(1 - lost / (1 + self.excess) ** 2, 1e-300))

    @property
    def relative_width(self) -> float:
        """Largest ``(sigma_upper - sigma_lower) / sigma_upper`` over the positive values; 0 if none."""
        return worst_width(self.sigma_lower, self.sigma_upper, self.zero)

    @property
    def captured(self) -> float:
        """Share of the energy that the factorisation captures, at least; 1 for the zero matrix."""
        if self.vanishes:
            return 1.0
        return max(0.0, 1.0 - (self.frobenius_error / self.frobenius_norm) ** 2)

    def scale_by(self, factor: float) -> Certificate:
        """The certificate of ``factor * A``."""
        return replace(
            self,
            sigma_lower=self.sigma_lower * factor,
            sigma_upper=self.sigma_upper * factor,
            frobenius_error=self.frobenius_error * factor,
            energy=self.energy * factor * factor,
            deficit=self.deficit * factor * factor,
            spectral_error=self.spectral_error * factor,
            next_lower=self.next_lower * factor,
            zero=self.zero * factor,
            frobenius_norm=self.frobenius_norm * factor,
        )


@dataclass(frozen=True, slots=True, eq=False)
class EigenvalueBounds:
    """What all looks so far have proved together, whatever vectors are handed back.

    Attributes
    ----------
    lower, upper
        Intervals of the eigenvalues, ``(count,)`` and ``(count + 1,)``.
    next_lower
        Lower end of the eigenvalue after the last.
    rank, largest_sum
        Bound of the sum of that many largest eigenvalues; ``inf`` and 0 where none was made.
    """

    lower: Real
    upper: Real
    next_lower: float
    rank: int = 0
    largest_sum: float = float("inf")

    def intersect(self, other: EigenvalueBounds) -> EigenvalueBounds:
        """Both together: the narrower of every two ends."""
        largest_sum = min(
            self.largest_sum, other.largest_sum if other.rank == self.rank else float("inf")
        )
        return EigenvalueBounds(
            np.maximum(self.lower, other.lower),
            np.minimum(self.upper, other.upper),
            max(self.next_lower, other.next_lower),
            self.rank,
            largest_sum,
        )

    def move_by(self, distance: float) -> EigenvalueBounds:
        """Of a matrix that is within that distance in the Frobenius norm: the squares of what singular values may be then."""
        return EigenvalueBounds(
            _move_down(self.lower, distance),
            (np.sqrt(self.upper) + distance) ** 2,
            float(_move_down(np.array(self.next_lower), distance)),
            self.rank,
            (float(np.sqrt(self.largest_sum)) + distance) ** 2,
        )

    def sum_of(self, rank: int) -> float:
        """Bound of the sum of the ``rank`` largest eigenvalues."""
        ends = float(np.sum(self.upper[:rank]))
        return min(ends, self.largest_sum) if rank == self.rank else ends


def _move_down(squares: Real, distance: float) -> Real:
    """Squares of values that may be less by that distance."""
    return np.asarray(np.maximum(np.sqrt(squares) - distance, 0.0) ** 2)


def certify(
    found: Bracket,
    *,
    rank: int,
    energy: float,
    energy_slack: float,
    nu: float,
    beta: float,
    failure_probability: float,
    kind: Kind,
    proved: EigenvalueBounds | None = None,
    tol: float = TOL,
    zero: float = 0.0,
    moved: float = 0.0,
) -> Certificate:
    """The certificate of the ``rank`` leading triplets of a bracket.

    ``||A - A V_k V_k*||_F^2 = ||A||_F^2 - ||A V_k||_F^2``, and the Nyström eigenvalues less the rounding
    bound the second term from below. With a gap after the k-th eigenvalue, ``sum(lambda_i) - ||A V_k||_F^2
    >= gap * ||sin angle||_F^2`` bounds the subspace (Knyazev, Argentati 2006).

    Parameters
    ----------
    found
        The bracket of the look whose vectors are handed back.
    rank
        Triplets.
    energy, energy_slack
        ``||A||_F^2``, and its rounding.
    nu, beta
        Rounding of the products, norm outside the space.
    failure_probability, kind
        What it is to be called.
    proved
        What all looks together say of the eigenvalues; this one's own ends if left out.
    tol, zero
        Relative width at which a value counts as resolved, and what counts as zero.
    moved
        Bound of the norm by which the matrix read may differ from the one that is meant.
    """
    if proved is None:
        proved = EigenvalueBounds(found.lower, found.upper, found.next_lower)
    spectral = float(np.sqrt(found.norm_left(rank))) + moved
    deficit = found.deficit
    if moved:
        energy_slack += (2 * float(np.sqrt(energy)) + moved) * moved
        deficit += (2 * float(np.sqrt(proved.upper[0])) + moved) * moved
        proved = proved.move_by(moved)
        found = replace(found, lower=_move_down(found.lower, moved))
    if np.sqrt(energy) <= zero:  # what rounding has left proves no value to be positive
        nothing = np.zeros_like(proved.lower)
        proved = replace(proved, lower=nothing, next_lower=0.0)
        found = replace(found, lower=np.zeros_like(found.lower))
    vectors = found.vectors[:, :rank]
    own, lower, upper = found.lower[:rank], proved.lower[:rank], proved.upper[:rank]
    captured = float(np.sum(own))
    missed = max(energy + energy_slack - captured, 0.0)
    most = proved.sum_of(rank)
    best = energy - energy_slack - most  # squared error of the best factors, at least
    following = proved.next_lower if rank == proved.lower.size else float(proved.lower[rank])
    sigma_lower, sigma_upper = np.sqrt(lower), np.sqrt(upper)
    gram = vectors.conj().T @ vectors
    top = float(upper[0])
    r = leading_run(relative_widths(sigma_lower, sigma_upper, zero) <= tol)
    return Certificate(
        sigma_lower=sigma_lower,
        sigma_upper=sigma_upper,
        frobenius_error=float(np.sqrt(missed)),
        energy=energy,
        failure_probability=failure_probability,
        subspace_angle_bound=_angle(proved, most - captured, rank),
        orthogonality=spectral_norm(gram - np.eye(gram.shape[0])),
        rounding=nu / top if top > 0 else 0.0,
        tail=float(np.sqrt(beta / top)) if top > 0 else 0.0,
        numerical_rank=int(np.count_nonzero(lower > 0)),
        deficit=deficit + float(np.max(lower - own, initial=0.0)),
        kind=kind,
        excess=float(np.sqrt(missed / best)) - 1 if best > 0 else float("inf"),
        spectral_error=spectral,
        next_lower=float(np.sqrt(following)),
        resolved_angle_bound=_angle(proved, float(np.sum(upper[:r]) - np.sum(own[:r])), r),
        tol=tol,
        zero=zero,
    )


def _angle(proved: EigenvalueBounds, spread: float, count: int) -> float:
    """Bound of the sine of the angle of the first ``count`` vectors, whose energies miss the best by ``spread``."""
    if count == 0:
        return float("inf")
    gap = float(proved.lower[count - 1] - proved.upper[count])
    angle = float(np.sqrt(max(spread, 0.0) / gap)) if gap > 0 else float("inf")
    return angle if angle <= 1 else float("inf")
