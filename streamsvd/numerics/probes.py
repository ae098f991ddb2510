"""Gaussian probes: what they prove of the space not searched, and of rounding.

The lemma and its proof stand in `streamsvd.numerics.tail`: for a fixed unit vector ``w``, ``||w* Omega||^2`` is
chi-square, and products of ``B`` with ``Omega`` ride along with passes that are made anyway.

The same lemma measures rounding: ``N* Omega = (B V + N)* Omega - V* (B Omega)`` is known once ``B Omega``
is, and ``||M|| <= ||D^-1 N* Omega||_2 / sqrt(chi2_s(delta))`` for ``N = M D``. The rounding of the probes' own later
products, which depends on ``Omega``, is measured on each half of the columns by the other half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaincinv

from streamsvd.numerics.ritz import Ritz, spectral_norm
from streamsvd.typing import Matrix, Real


def chi_lower(dof: int, delta: float) -> float:
    """Square root of the lower ``delta`` quantile of chi-square with ``dof`` degrees of freedom."""
    return float(np.sqrt(2 * gammaincinv(dof / 2, delta)))


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
        Basis whose complement is the range of ``P_0``, ``(n, j)``; None until the second pass.
    later
        ``T_2, T_3, ...``: ``(B P_0)^(q - 1) B omega`` for the passes after the first.
    errors, casts
        Of each of `later`: the bound of the rounding of the product itself, and what its input was rounded by.
    reach
        Bound of ``||P_0 B||``; known from the second pass on, and made smaller by what later looks prove.
    """

    omega: Matrix
    product: Matrix
    floor: float
    spread: float
    dof: int
    basis: Matrix | None = None
    later: tuple[Matrix, ...] = ()
    errors: tuple[float, ...] = ()
    casts: tuple[float, ...] = ()
    reach: float = 0.0

    @property
    def width(self) -> int:
        """Number of columns, s."""
        return int(self.omega.shape[1])

    @property
    def powers(self) -> tuple[Matrix, ...]:
        """``T_1, T_2, ...``."""
        return (self.product, *self.later)

    @property
    def slacks(self) -> tuple[float, ...]:
        """Bounds of what rounding did to each of `powers`, in every direction of the range of ``P_0``.

        The error of a power, and of the block it was rounded to, reaches ``w*`` times the next through ``B w``, no
        longer than ``||P_0 B||``.
        """
        bounds = [self.floor * spectral_norm(self.omega)]
        for error, cast in zip(self.errors, self.casts, strict=True):
            bounds.append(error + self.reach * (bounds[-1] + cast))
        return tuple(bounds)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Norms of `powers`."""
        return tuple(spectral_norm(power) for power in self.powers)

    def pin_basis(self, basis: Matrix, *, delta: float) -> Probes:
        """The probes with the complement of a basis as their ``P_0``; later powers of another one are dropped.

        One statement, of ``||P_0 B||``, fails with probability ``delta``.
        """
        reach = spectral_norm(complement(basis, self.product)) + self.slacks[0]
        reach /= self.quantile(delta)
        return replace(self, basis=basis, later=(), errors=(), casts=(), reach=reach)

    def deflated_block(self) -> Matrix:
        """``P_0 T_q``, the columns that the next pass multiplies."""
        assert self.basis is not None
        return complement(self.basis, self.powers[-1])

    def extend(self, block: Matrix, product: Matrix, *, delta: float) -> Probes:
        """The probes after a pass that multiplied ``block`` (as rounded) and gave ``product``.

        Two statements, of the rounding of the product, fail with probability ``delta`` each.
        """
        assert self.basis is not None
        cast = spectral_norm(block - complement(self.basis, self.powers[-1]))
        error = power_rounding(self, product, block, delta)
        return replace(
            self,
            later=(*self.later, product),
            errors=(*self.errors, error),
            casts=(*self.casts, cast),
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


GRADES = (1.0, 1e-1, 1e-2, 1e-3)
"""Floors ``e`` tried in ``g = max(theta / theta_1, e)``; the choice pays its share of probability."""


def rounding_bounds(ritz: Ritz, probes: Probes, *, delta: float, needed: int) -> Real:
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
