"""Blocks that are both tall and wide, reduced to few rows before they are stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd.numerics import sketches as sketch
from streamsvd.numerics.ledger import Factor, Ledger, StackPart, energy_of
from streamsvd.numerics.probes import chi_lower
from streamsvd.numerics.ritz import spectral_norm
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.typing import Matrix

ParallelMap = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
PROBES = 16
OVERSAMPLES = 10
"""Columns of a sketch beyond the directions kept."""
PANEL, NARROW, PANEL_ENTRIES = 512, 64, 1 << 21
"""Rows of a block that are converted and multiplied at a time: so many entries, 16 MiB in double precision."""

SINGLE_RANGE = 1e12
"""Entries beyond it, or all below its inverse, are multiplied in double: cubes of theirs leave float32."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeSketch:
    """A tall block as ``U U* A + X`` with ``U* X = 0``, panel by panel.

    U comes from one step and a half of subspace iteration, in single precision where the data are: whatever its
    span, ``||A||^2 = ||U* A||^2 + ||X||^2`` is exact. ``||X||^2`` in the spectral norm is bounded by
    ``(||X X* X Omega|| / chi)^(2/3)``, Omega Gaussian (the lemma of `streamsvd.numerics.certificate`, for singular values
    of X instead of eigenvalues).
    """

    block: Matrix
    mean: Matrix | None
    each: ParallelMap

    def part(
        self,
        width: int,
        guess: Factor | None,
        seed: int,
        index: int,
        delta: float,
        *,
        left: bool,
    ) -> StackPart:
        """The rows ``U* A``, and the ledger of what they leave out."""
        b, n = self.block.shape
        complex_ = self.block.dtype.kind == "c"
        start = sketch.gaussian(
            n, width, seed=seed, purpose="block", complex_=complex_, index=index
        )
        if guess is not None and guess.s.size:
            known = guess.Vh[: width - OVERSAMPLES].conj().T
            start = np.concatenate([known, start[:, : width - known.shape[1]]], axis=1)
        U = self._basis(start)
        omega = sketch.gaussian(
            n, PROBES, seed=seed, purpose="residual", complex_=complex_, index=index
        )
        energy, rows, first = self._project(U, omega)
        first -= U @ (rows @ omega)  # X Omega
        second = self._adjoint(first) - rows.conj().T @ (U.conj().T @ first)  # X* X Omega
        third = self._times(second) - U @ (rows @ second)
        left_over = energy - energy_of(rows)
        if left_over <= 1e-3 * energy:  # the difference has lost digits
            left_over = self._residual(U, rows)
        share = delta / ((index + 1) * (index + 2))
        chi = chi_lower(PROBES * (2 if complex_ else 1), share)
        floor = 8 * UNIT_ROUNDOFF * np.sqrt(max(b, n)) * np.sqrt(energy)
        bound = (spectral_norm(third) / chi) ** (1 / 3) + floor
        norm = float(min(bound * bound, left_over))
        ledger = Ledger(
            energy=energy,
            discarded=left_over,
            discarded_norm=norm,
            truncations=1,
            height=max(b, n),
            failure=share if norm < left_over else 0.0,
        )
        return StackPart(rows, U if left else None, self.mean, float(b), b, ledger)

    def _panels(self) -> list[slice]:
        return panels(*self.block.shape)

    def _wide(self, rows: slice) -> Matrix:
        wide = self.block[rows].astype(np.result_type(self.block.dtype, np.float64), copy=False)
        return wide if self.mean is None else wide - self.mean

    def _basis(self, start: Matrix) -> Matrix:
        """Orthonormal basis of ``A orth(A* (A start))``."""
        kind = self.block.dtype
        wide = np.result_type(kind, np.float64)
        single = kind.itemsize <= (8 if kind.kind == "c" else 4) and kind.kind in "fc"
        single = single and 1 / SINGLE_RANGE < largest_modulus(self.block) < SINGLE_RANGE
        narrow = (np.complex64 if kind.kind == "c" else np.float32) if single else wide
        mean = None if self.mean is None else self.mean.astype(narrow)

        def panel(rows: slice) -> Matrix:
            P = self.block[rows].astype(narrow, copy=False)
            return P if mean is None else P - mean

        X = start.astype(narrow, copy=False)
        Z = np.zeros(start.shape, dtype=wide)
        for product in self.each(
            lambda rows: (P := panel(rows)).conj().T @ (P @ X), self._panels()
        ):
            Z += product
        Q = linalg.qr(Z, mode="economic", overwrite_a=True, check_finite=False)[0]
        Q = Q.astype(narrow, copy=False)
        Y = np.concatenate(list(self.each(lambda rows: panel(rows) @ Q, self._panels()))).astype(
            wide
        )
        if (
            mean is not None
        ):  # rounded above: what is orthogonal to constants stays so when parts are stacked
            for _ in range(2):
                Y -= Y.mean(axis=0)
        return np.asarray(linalg.qr(Y, mode="economic", check_finite=False)[0])

    def _project(self, U: Matrix, omega: Matrix) -> tuple[float, Matrix, Matrix]:
        """``||A||_F^2``, ``U* A`` and ``A Omega``."""

        def one(rows: slice) -> tuple[float, Matrix, Matrix]:
            P = self._wide(rows)
            return energy_of(P), U[rows].conj().T @ P, P @ omega

        energy, total, products = 0.0, np.zeros((U.shape[1], self.block.shape[1]), U.dtype), []
        for size, rows, product in self.each(one, self._panels()):
            energy += size
            total += rows
            products.append(product)
        return energy, total, np.concatenate(products)

    def _adjoint(self, Y: Matrix) -> Matrix:
        """``A* Y``."""
        total = np.zeros((self.block.shape[1], Y.shape[1]), Y.dtype)
        for product in self.each(lambda rows: self._wide(rows).conj().T @ Y[rows], self._panels()):
            total += product
        return total

    def _times(self, X: Matrix) -> Matrix:
        """``A X``."""
        return np.concatenate(list(self.each(lambda rows: self._wide(rows) @ X, self._panels())))

    def _residual(self, U: Matrix, rows: Matrix) -> float:
        """``||A - U U* A||_F^2``, term by term."""
        parts = self.each(lambda r: energy_of(self._wide(r) - U[r] @ rows), self._panels())
        return float(sum(parts))


def panel_rows(n_cols: int) -> int:
    """Rows of a panel of so many columns."""
    return max(NARROW, min(PANEL, PANEL_ENTRIES // max(n_cols, 1)))


def panels(n_rows: int, n_cols: int) -> list[slice]:
    """Rows of a block in panels; of shapes alone, so that sums over them have the same bits."""
    step = panel_rows(n_cols)
    return [slice(a, min(a + step, n_rows)) for a in range(0, n_rows, step)]


def largest_modulus(block: Matrix) -> float:
    """Largest modulus of a real or imaginary part."""
    parts = (block.real, block.imag) if np.iscomplexobj(block) else (block,)
    return max(float(max(part.max(), -part.min())) for part in parts)


def column_mean(block: Matrix) -> Matrix:
    """Mean of the rows, about their first guess of it, so that data far from zero keep their digits."""
    wide = np.result_type(block.dtype, np.float64)
    first = block.mean(axis=0, dtype=wide)
    rest = np.zeros_like(first)
    for rows in panels(*block.shape):
        rest += (block[rows] - first).sum(axis=0)
    return np.asarray(first + rest / block.shape[0])
