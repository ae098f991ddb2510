r"""What Gaussian probes prove of ``B`` outside the searched space: its norm there, and its largest eigenvalues together.

``Omega`` (n x s) is Gaussian and independent of everything that entered ``V`` and the fixed projector ``P_0``, whose
range holds that of ``P = I - V V*``. With ``C = P B P``, ``C_0 = P_0 B P_0`` and ``T_q = (B P_0)^(q-1) B Omega``,

    ``||C|| <= ( ||P T_q||_2 / sqrt(chi2_s(delta)) )^(1/q)``  with probability ``1 - delta``.

*Proof.* Let ``w`` be the top unit eigenvector of ``C`` in the range of ``P``. ``w* T_q = (B C_0^(q-1) w)* Omega`` and
``||B C_0^(q-1) w|| >= ||C_0^q w|| >= w* C_0^q w >= (w* C_0 w)^q = ||C||^q`` (Jensen). ``w`` depends on ``B`` and ``V``
alone, so ``||w* T_q||^2 / ||C||^(2q)`` dominates a chi-square variable with ``s`` degrees of freedom. []

**A polynomial of the same powers.** For ``b > 0`` and ``c = cos(pi / 2q)`` let ``f(x) = cheb_q((1 + c) x / b - c)``, the
Chebyshev polynomial moved so that ``f(0) = 0``, ``|f| <= 1`` on ``[0, b]`` and ``f(b) = 1``: ``f(x) = sum a_j x^j``.
``Y = P sum a_j T_j`` proves ``||C|| <= max(b, g(y))``, ``y = ||Y|| / sqrt(chi2_s(delta))``, ``g`` the inverse of ``f``
above ``b``: ``g(y) = b (cosh(arccosh(y) / q) + c) / (1 + c)``.

*Proof.* ``w* sum a_j T_j = (B p(C_0) w)* Omega`` with ``x p(x) = f(x)``, and ``||B p(C_0) w|| >= w* f(C_0) w``. Where ``f``
takes its last minimum, -1, it turns convex and stays so; -1 up to there and ``f`` beyond is a convex function below
``f``. By Jensen ``w* f(C_0) w >= f(||C||)`` where ``||C|| >= b``. []

The power is off by ``y^(1/q)`` where the tail is flat, the polynomial by ``arccosh(y)^2 / 2q^2`` only.

**The largest eigenvalues together.** Let ``W`` be the eigenvectors of ``C`` of its (at most k) eigenvalues above ``b``.
``W* Y = M Omega`` with ``||M||_F^2 >= sum f(lambda_i)^2``, row by row as above. The sum of the k largest squared singular
values of ``Y`` is at least ``||M Omega||_F^2``, which with ``t = ||M||_F^2`` and ``rho = ||M||^2 / t`` is below ``s t x``,
``x < 1``, with probability at most ``(x e^(1 - x))^(s / 2 rho)`` (Chernoff). The root of ``s t x(t) = sum`` bounds ``t``.

With ``G(z) = g(sqrt(z))``, concave and increasing, and ``u = tr Z P`` for a projector ``Z`` of rank k, Jensen gives
``tr Z C <= u G(1 + t / u)``, concave in ``u``: below its tangent at any ``x``, ``t G'(z) + (G(z) - (z - 1) G'(z)) u`` with
``z = 1 + t / x``. That is what `streamsvd.numerics.kyfan` takes.

Deflating the probes by ``P_0`` keeps the leading directions out of them, so that float32 products of the later powers do
not drown in the rounding of the first. What a look has proved stays so while the space grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from streamsvd.numerics.probes import Probes, complement
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

SCALES = 10
"""Values of ``b`` that are tried, each at its share of the failure probability."""

MOST_DEGREE = 10
"""Degree beyond which the coefficients of the polynomial lose more digits than they gain."""


POLYNOMIAL_SHARE = 0.2
"""Of the failure probability of a look that has polynomials; the powers, which need not pay for the scales, have the rest."""


ENTRY_LIMIT = 1e100
"""Entries beyond which a scale says nothing, and squares would overflow."""


def statement_count(look: int) -> int:
    """Most statements of a look, apart from polynomials, that may each fail.

    After the j-th pass: one bound of the rounding of the space, one of the norm of the deflated product, for each of
    j powers a bound of the tail, and two of the rounding of the newest; 3 j + 2 are counted.
    """
    return 3 * look + 2


def power_share(delta: float, look: int) -> float:
    """Failure probability granted to each of the `statement_count` of a look.

    With ``3 SCALES`` statements of `polynomial_share` each, from the second look on, the sum over all looks, whatever
    their number, is at most ``delta``.
    """
    rest = 1 - POLYNOMIAL_SHARE if look > 1 else 1.0
    return rest * delta / (look * (look + 1) * statement_count(look))


def polynomial_share(delta: float, look: int) -> float:
    """Failure probability granted to each statement of a polynomial: a norm, ``||M||`` and ``||M||_F`` for each scale."""
    return POLYNOMIAL_SHARE * delta / (look * (look + 1) * 3 * SCALES)


def tail_norm(V: Matrix, probes: Probes, *, delta: float) -> float:
    """Upper bound of ``||P B P||`` by the powers alone; each statement in it fails with probability ``delta``.

    Parameters
    ----------
    V
        Orthonormal basis that contains the span of ``probes.basis``, ``(n, L)``.
    probes
        Products of the passes so far.
    delta
        Failure probability of each of at most ``q`` statements.

    Notes
    -----
    Cost: ``4 n L s`` flops for each power.
    """
    quantile = probes.quantile(delta)
    bounds = [
        ((spectral_norm(complement(V, T)) + slack) / quantile) ** (1 / q)
        for q, (T, slack) in enumerate(zip(probes.powers, probes.slacks, strict=True), start=1)
    ]
    return float(min(bounds))


@dataclass(frozen=True, slots=True, eq=False)
class TailMoment:
    """A bound ``t`` of ``sum f(lambda_i(C))^2`` over the eigenvalues above ``b``, at most k of them, and its ``f``.

    Attributes
    ----------
    t
        The bound.
    b, degree
        What makes the polynomial.
    """

    t: float
    b: float
    degree: int

    def tangent(self, x: float) -> tuple[float, float]:
        """``(slope, constant)``: ``tr Z C <= slope tr Z P + constant`` for projectors ``Z`` of rank k."""
        z = 1 + self.t / x
        y = float(np.sqrt(z))
        a, c = float(np.arccosh(y)), _offset(self.degree)
        rise = (
            1 / self.degree**2
            if a < 1e-6
            else np.sinh(a / self.degree) / (self.degree * np.sinh(a))
        )
        derivative = self.b / (1 + c) * float(rise) / (2 * y)
        return _inverse(y, self.b, self.degree) - (z - 1) * derivative, self.t * derivative


@dataclass(frozen=True, slots=True, eq=False)
class TailBounds:
    """What the polynomials prove: a bound of ``||P B P||`` and one moment for each scale that can be used."""

    norm: float
    moments: tuple[TailMoment, ...]


def polynomial_tail(
    V: Matrix, probes: Probes, *, delta: float, edges: tuple[float, float], rank: int
) -> TailBounds:
    """Upper bounds of the tail by the best polynomials of the stored powers.

    Parameters
    ----------
    V, probes, delta
        As in `tail_norm`; at most ``3 SCALES`` statements.
    edges
        Largest and smallest guess of the norm, from Ritz values alone: the scales lie between them.
    rank
        Eigenvalues that a moment is about, k.

    Notes
    -----
    Cost: ``2 n s (2 L + q)`` flops for each of `SCALES` scales.
    """
    degree = min(len(probes.powers), MOST_DEGREE)
    quantile, columns = probes.quantile(delta), probes.dof * probes.width
    coefficients = _coefficients(degree)
    norm, moments = np.inf, []
    high, low = edges
    if not 0 < low <= high:
        return TailBounds(norm, ())
    powers = probes.powers
    errors = np.asarray(probes.slacks) + 8 * UNIT_ROUNDOFF * np.asarray(probes.sizes)
    for b in np.geomspace(high, low, SCALES):
        with np.errstate(all="ignore"):  # a scale whose powers float64 does not hold says nothing
            factors = coefficients / float(b) ** np.arange(1, degree + 1)
            Y = np.zeros_like(probes.product)
            for a, T in zip(factors, powers[:degree], strict=True):
                Y += a * T
            slack = float(np.sum(np.abs(factors) * errors[:degree]))
            size = float(np.abs(Y).max(initial=0.0)) + slack
        if not size < ENTRY_LIMIT:
            continue
        squares = np.linalg.eigvalsh(_gram(complement(V, complement(V, Y))))[::-1]
        singular = np.sqrt(np.maximum(squares, 0.0)) + slack
        y = float(singular[0]) / quantile
        norm = min(norm, max(float(b), _inverse(y, float(b), degree)))
        total = float(np.sum(singular[:rank] ** 2)) + (rank - min(rank, singular.size)) * slack**2
        largest = (y * probes.spread) ** 2
        t = frobenius_bound(total, largest, columns, delta) / probes.spread**2
        moments.append(TailMoment(t, float(b), degree))
    return TailBounds(norm, tuple(moments))


def frobenius_bound(total: float, largest: float, columns: int, delta: float) -> float:
    """Bound of ``||M||_F^2`` from ``total >= ||M Omega||_F^2`` and ``largest >= ||M||^2``, but for probability ``delta``.

    ``Omega`` has ``columns`` real Gaussian columns, or half as many complex ones.
    """
    if not total > 0 or not largest > 0:
        return total if total > 0 else 0.0
    from scipy.optimize import (
        brentq,
    )  # a fifth of a second of imports, which small matrices never need

    unit = 2 * np.log(1 / delta) / columns

    def held(t: float) -> float:
        return columns * t * _lower_root(min(1.0, largest / t) * unit)

    low, high = largest * 1e-12, largest
    while held(high) < total:
        low, high = high, 2 * high
    return float(brentq(lambda t: held(t) - total, low, high, rtol=1e-10)) * (1 + 1e-9)


def _lower_root(h: float) -> float:
    """The root below 1 of ``x - 1 - log(x) = h``, from below."""
    from scipy.optimize import brentq

    low = float(np.exp(-1 - h))  # there x - 1 - log(x) exceeds h
    return float(brentq(lambda x: x - 1 - np.log(x) - h, low, 1.0, rtol=1e-12)) * (1 - 1e-11)


def _gram(Y: Matrix) -> Matrix:
    return np.asarray(Y.conj().T @ Y)


def _offset(degree: int) -> float:
    return float(np.cos(np.pi / (2 * degree)))


def _inverse(y: float, b: float, degree: int) -> float:
    """``g(y)``; ``b`` for y below 1."""
    if not np.isfinite(y):
        return float("inf")
    c = _offset(degree)
    return b * (float(np.cosh(np.arccosh(max(y, 1.0)) / degree)) + c) / (1 + c)


@cache
def _coefficients(degree: int) -> Real:
    """``a_1 .. a_q`` of the polynomial for ``b = 1``."""
    c = _offset(degree)
    moved = Chebyshev.basis(degree).convert(kind=Polynomial)(Polynomial([-c, 1 + c]))
    return np.asarray(moved.coef[1:])
