r"""What chance does to variances that were estimated from a sample: rules of thumb, not certificates.

*North, Bell, Cahalan, Moeng (1982), equation 24.* The variance ``lambda`` of a component, estimated from N independent rows, has the standard error
``lambda sqrt(2 / N)``: of normal scores the variance of a sample variance is ``2 lambda^2 / N``. Two components whose variances are closer than that
are mixed in any sample: their vectors may be any of their plane.

*Bretherton, Widmann, Dymnikov, Wallace, Blade (1999), equation 31.* A series of n values with the autocorrelation ``r`` at lag one, as a
first-order autoregression has it, tells as much of its variance as

.. math::  N = n \, \frac{1 - r^2}{1 + r^2}

independent values; of its mean, as ``n (1 - r) / (1 + r)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix, Real

Blocks = Callable[[], Iterator[Matrix]]
"""Consecutive rows of a series, from the first to the last, as often as they are asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class LagOne:
    """Sums of series about their means.

    Attributes
    ----------
    squares
        ``sum |x_t - m|^2`` of each, ``(k,)``.
    products
        ``|sum conj(x_t - m) (x_{t+1} - m)|`` with the sign of its real part, ``(k,)``.
    n_rows
        How many values each has.
    """

    squares: Real
    products: Real
    n_rows: int

    @property
    def autocorrelation(self) -> Real:
        """Autocorrelation at lag one, in [-1, 1]; 0 of a series that is constant."""
        whole = self.squares > 0
        found = np.divide(self.products, self.squares, out=np.zeros_like(self.squares), where=whole)
        return np.clip(found, -1.0, 1.0)


def lag_one_sums(blocks: Blocks) -> LagOne:
    """Sums of series ``(m, k)`` that come in blocks of rows; two reads of them, in float64."""
    total: Matrix | None = None
    n_rows = 0
    for rows in blocks():
        part = np.sum(rows, axis=0, dtype=np.result_type(rows.dtype, np.float64))
        total = part if total is None else total + part
        n_rows += rows.shape[0]
    if total is None:
        return LagOne(np.zeros(0), np.zeros(0), 0)
    mean = total / n_rows
    squares, products = np.zeros(mean.shape), np.zeros(mean.shape, dtype=mean.dtype)
    last: Matrix | None = None
    size = np.zeros(mean.shape)
    for rows in blocks():
        x = rows - mean
        squares += np.sum(np.abs(x) ** 2, axis=0)
        products += np.sum(np.conj(x[:-1]) * x[1:], axis=0)
        if last is not None and len(x):
            products += np.conj(last) * x[0]
        last = x[-1] if len(x) else last
        size = np.maximum(size, np.abs(rows).max(axis=0, initial=0.0))
    rounding = n_rows * (8 * UNIT_ROUNDOFF * size) ** 2  # of a constant, nothing else is left
    squares = np.where(squares > rounding, squares, 0.0)
    signs = np.where(np.real(products) < 0, -1.0, 1.0)
    return LagOne(squares, signs * np.abs(products), n_rows)


def effective_size(n_rows: int, autocorrelation: Real, *, of_mean: bool) -> Real:
    """How many independent values tell as much of a variance, or of a mean; at least 1."""
    r = autocorrelation if of_mean else autocorrelation**2
    with np.errstate(divide="ignore"):
        found = n_rows * (1 - r) / (1 + r)
    return np.maximum(found, 1.0)


def standard_errors(variances: Real, size: Real | float) -> Real:
    """Of variances estimated from so many independent rows, ``lambda sqrt(2 / N)``."""
    return np.asarray(variances * np.sqrt(2.0 / np.asarray(size, dtype=np.float64)))
