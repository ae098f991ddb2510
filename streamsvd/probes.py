"""Gaussian probes: what they prove of the space not searched, and of rounding.

The lemma and its proof stand in `streamsvd.certificate`: for a fixed unit vector ``w``, ``||w* Omega||^2`` is
chi-square, and products of ``B`` with ``Omega`` ride along with passes that are made anyway.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincinv

from streamsvd.ritz import Ritz, spectral_norm
from streamsvd.typing import Matrix, Real


def chi_lower(dof: int, delta: float) -> float:
    """Square root of the lower ``delta`` quantile of chi-square with ``dof`` degrees of freedom."""
    return float(np.sqrt(2 * gammaincinv(dof / 2, delta)))


def share(delta: float, look: int) -> float:
    """Failure probability granted to each of the at most ``3 look`` statements of a look.

    One look after the j-th pass states one bound of rounding, one of the deflated probes, and for each of
    j powers a bound of the tail and two of its rounding. ``sum over look >= 1 of 3 look share <= delta``,
    whatever the number of looks.
    """
    return delta / (look * (look + 1) * 3 * look)


@dataclass(frozen=True, slots=True, eq=False)
class Probes:
    """Products of ``B`` with Gaussian columns that nothing else has seen.

    Attributes
    ----------
    omega
        The columns, ``(n, s)``.
    product
        ``B omega`` in float64, ``(n, s)``.
    floor
        Modelled rounding of a float64 product relative to its factor, in the norm of ``B``.
    spread
        Smallest standard deviation of an entry of ``omega``, 1 unless columns were rescaled.
    dof
        Degrees of freedom of ``||w* omega||^2`` for each column: 1, or 2 where they are complex.
    basis
        Basis whose complement is the range of ``P_0``, ``(n, l)``; None until the second pass.
    powers
        ``T_2, T_3, ...``: ``(B P_0)^(q - 1) B omega`` for the passes after the first.
    inputs
        The blocks ``P_0 T_(q-1)`` that were multiplied to get `powers`.
    """

    omega: Matrix
    product: Matrix
    floor: float
    spread: float
    dof: int
    basis: Matrix | None = None
    powers: tuple[Matrix, ...] = ()
    inputs: tuple[Matrix, ...] = ()

    @property
    def width(self) -> int:
        """Number of columns, s."""
        return int(self.omega.shape[1])

    def deflated(self, basis: Matrix) -> Matrix:
        """``P_0 T_q``, the columns that the next pass multiplies; ``basis`` counts on the first call."""
        last = self.powers[-1] if self.powers else self.product
        return complement(self.basis if self.basis is not None else basis, last)

    def extended(self, basis: Matrix, block: Matrix, product: Matrix) -> Probes:
        """The probes after a pass that multiplied ``block`` (as rounded) and gave ``product``."""
        return replace(
            self,
            basis=self.basis if self.basis is not None else basis,
            powers=(*self.powers, product),
            inputs=(*self.inputs, block),
        )

    def quantile(self, delta: float, columns: int | None = None) -> float:
        """Lower bound of ``||w* omega||`` for a fixed unit ``w``, but for probability ``delta``."""
        return chi_lower(self.dof * (columns or self.width), delta) * self.spread


def complement(V: Matrix, X: Matrix) -> Matrix:
    """``X - V V* X``."""
    return np.asarray(X - V @ (V.conj().T @ X))


def power_rounding(probes: Probes, power: Matrix, block: Matrix, delta: float) -> float:
    """Bound of ``||power - B block||``, each half of the columns measured by the other half's probes."""
    half = probes.width // 2
    first, second = slice(None, half), slice(half, None)
    halves = []
    for own, other in ((first, second), (second, first)):
        seen = power[:, own].conj().T @ probes.omega[:, other]
        seen -= block[:, own].conj().T @ probes.product[:, other]
        columns = probes.omega[:, other].shape[1]
        halves.append(2 * spectral_norm(seen) / probes.quantile(delta, columns))
    return float(np.hypot(halves[0], halves[1])) + probes.floor * spectral_norm(block)


def tail_norm(V: Matrix, probes: Probes, *, delta: float) -> float:
    """Upper bound of ``||P B P||``; each statement in it fails with probability ``delta``.

    Parameters
    ----------
    V
        Orthonormal basis that contains the span of ``probes.basis``, ``(n, L)``.
    probes
        Products of the passes so far.
    delta
        Failure probability of each of at most ``3 q`` statements.

    Notes
    -----
    Cost: ``4 n L s`` flops for each power.
    """
    quantile = probes.quantile(delta)
    slack = probes.floor * spectral_norm(probes.omega)
    bound = (spectral_norm(complement(V, probes.product)) + slack) / quantile
    if probes.basis is None:
        return bound
    # The errors of T_(q-1), and of the block it was rounded to, reach w* T_q through B w, no longer than ||P_0 B||.
    carried = (spectral_norm(complement(probes.basis, probes.product)) + slack) / quantile
    before = probes.product
    for q, (T, block) in enumerate(zip(probes.powers, probes.inputs, strict=True), start=2):
        cast = spectral_norm(block - complement(probes.basis, before))
        slack = power_rounding(probes, T, block, delta) + carried * (slack + cast)
        before = T
        bound = min(bound, ((spectral_norm(complement(V, T)) + slack) / quantile) ** (1 / q))
    return bound


GRADES = (1.0, 1e-1, 1e-2, 1e-3)
"""Floors ``e`` tried in ``g = max(theta / theta_1, e)``; the choice pays its share of probability."""


def rounding(ritz: Ritz, probes: Probes, *, delta: float, needed: int) -> Real:
    """Bound ``mu g`` of the rounding of each column of ``B V``, by the adjoint identity on the probes.

    Parameters
    ----------
    ritz
        Compression of ``B``.
    probes
        Products of the passes so far; their own float64 rounding is covered by the model's floor, and by
        doubling where the products were float64 too, so that the two might cancel (Higham, Mary 2019).
    delta
        Failure probability of the statement.
    needed
        Index of the Ritz value whose bound should be small; it decides the grade.
    """
    difference = (ritz.V * ritz.theta + ritz.R).conj().T @ probes.omega
    difference -= ritz.V.conj().T @ probes.product
    quantile = probes.quantile(delta / len(GRADES))
    top = float(ritz.theta[0])
    relative = np.maximum(ritz.theta / top, 0.0) if top > 0 else np.ones_like(ritz.theta)
    bounds = []
    for grade in GRADES:
        g = np.maximum(relative, grade)
        measured = spectral_norm(difference / g[:, None]) / quantile
        bounds.append(g * max(measured, min(2 * measured, probes.floor)) + probes.floor)
    return min(bounds, key=lambda bound: float(bound[needed]))
