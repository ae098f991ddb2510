"""Checked options of a factorisation, and the change of variables that its passes use.

With ``D = diag(d)`` the column scale, ``c`` the pilot, ``mu`` the mean, ``X = alpha (A - 1 c*)`` and
``delta = alpha (mu - c)``, the matrix factorised is ``alpha (A - 1 mu*) D`` and

    ``D (X* X - w delta^bar delta^T) D Q  =  D (X* (X D Q) - w delta^bar (delta^T D Q))``

exactly, ``w`` the sum of the row weights: products are made with ``D Q`` before ``d`` or ``mu`` is known to
more than a pilot, and corrected after (`Frame.pull` and `Frame.push`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streamsvd.checks.weights import check_weights
from streamsvd.errors import SpecError
from streamsvd.factor.options import SVDOptions
from streamsvd.numerics.blocks import Moments, Preparation
from streamsvd.numerics.eigen import STRIP_ROWS
from streamsvd.numerics.scalings import Scale, scaling_of
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.support import Support
from streamsvd.options import Policy
from streamsvd.protocols import Source
from streamsvd.typing import Matrix, Real


@dataclass(frozen=True, slots=True, eq=False)
class MatrixOptions:
    """What the caller wants done to the matrix before it is factorised, checked against its shape.

    `step_rounding` bounds the relative error of each entry that steps of rows have rounded to single precision; None where none did.
    """

    center: bool
    scale: Scale
    row_weights: Real | None
    column_weights: Real | None
    nonfinite: Policy
    step_rounding: float | None = None

    @property
    def support(self) -> Support:
        """Which rows and columns count."""
        return Support.of(self.row_weights, self.column_weights)

    @property
    def has_fills_or_weights(self) -> bool:
        """Whether missing values are filled or rows weighted, which takes copies of a block."""
        return self.nonfinite != "raise" or self.row_weights is not None


def matrix_options(source: Source, options: SVDOptions, column_weights: Any) -> MatrixOptions:
    """What is done to a matrix before it is factorised, with the weights of its columns.

    Raises
    ------
    ShapeError
        If weights are not as many as rows or columns.
    SpecError
        If a weight is negative or not finite, or all are zero; or numbers are complex that a scaling counts.
    """
    m, n = source.shape
    return MatrixOptions(
        bool(options.center),
        _scale_of(source, options.scale),
        check_weights(options.row_weights, m, "row_weights", "rows"),
        check_weights(column_weights, n, "column_weights", "columns"),
        options.nonfinite,
        getattr(source, "step_rounding", None) or None,
    )


def _scale_of(source: Source, scale: Scale) -> Scale:
    """What columns are divided by, where the matrix can have it."""
    scaling = scaling_of(scale)
    if scaling is not None and scaling.limits is not None and source.dtype.kind == "c":
        raise SpecError(
            f"scale={scale!r} is for {scaling.meaning}, and {source.name} holds complex numbers. Pass scale=True."
        )
    return scale if isinstance(scale, str) else bool(scale)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """The change of variables between the thin blocks of the method and those that are multiplied.

    Attributes
    ----------
    d
        Scale of each coordinate of the thin blocks, ``(n,)``; zero where a coordinate is left out.
    delta
        ``alpha (mu - c)``, the mean about the pilot, ``(n,)``; None where no pilot was subtracted.
    weight
        Sum of the weights of the rows.
    offset
        ``alpha mu``, where the mean that the pilot took out belongs to the matrix: scaling without centring
        needs a pilot for its deviations. None otherwise.
    """

    d: Real
    delta: Matrix | None
    weight: float
    offset: Matrix | None = None

    @property
    def dimension(self) -> int:
        """Coordinates that are not left out."""
        return int(np.count_nonzero(self.d))

    def push(self, Q: Matrix, dtype: str) -> Matrix:
        """What is multiplied for ``Q``: ``D Q`` as rounded to the type of the products."""
        return (Q * self.d[:, None]).astype(dtype).astype(_wide(Q))

    def undo_push(self, pushed: Matrix) -> Matrix:
        """The block of the method that ``pushed`` stands for: ``D^-1`` of it."""
        inverse = np.divide(1.0, self.d, out=np.zeros_like(self.d), where=self.d > 0)
        return pushed * inverse[:, None]

    def pull(self, product: Matrix, pushed: Matrix) -> Matrix:
        """The product of the method's matrix with ``seen(pushed)``, from what the pass summed."""
        out = product
        if self.delta is not None:
            out = out - self.weight * np.outer(self.delta.conj(), self.delta @ pushed)
        if self.offset is not None:
            out = out + self.weight * np.outer(self.offset.conj(), self.offset @ pushed)
        return out * self.d[:, None]

    def gram(self, G: Matrix) -> Matrix:
        """The Gram matrix of the method's matrix, from that of ``X``: in its memory, some rows at a time."""
        G = np.require(G, requirements="W")  # what a cluster sends may be read only
        for a in range(0, G.shape[0], STRIP_ROWS):
            rows = slice(a, a + STRIP_ROWS)
            if self.delta is not None:
                G[rows] -= self.weight * np.outer(self.delta[rows].conj(), self.delta)
            if self.offset is not None:
                G[rows] += self.weight * np.outer(self.offset[rows].conj(), self.offset)
            G[rows] *= np.outer(self.d[rows], self.d)
        return G

    def shift(self, pushed: Matrix) -> Matrix:
        """What to subtract from each row of ``X pushed`` for the row of the method's matrix, ``(k,)``."""
        out = np.zeros(pushed.shape[1], dtype=pushed.dtype)
        if self.delta is not None:
            out = out + self.delta @ pushed
        if self.offset is not None:
            out = out - self.offset @ pushed
        return out


def _wide(Q: Matrix) -> str:
    return "complex128" if np.iscomplexobj(Q) else "float64"


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What the first pass says of the matrix, in the frame of the method.

    Attributes
    ----------
    frame
        With the true mean and scale.
    energy
        ``||.||_F**2`` of the matrix factorised.
    gross
        The same before the mean was taken out: what rounding is relative to.
    zero
        Where all of the matrix is no more than what the rounding of the data may have left, the norm of that; 0 of any
        other. See `streamsvd.numerics.certificate`.
    mean, deviation
        Of each column, in the units of the data, ``(n,)``.
    divisor
        By what each column is divided, in these units, ``(n,)``; the deviation where none is.
    moved
        Bound of the norm by which rounding of the entries, before they were read, may have moved the matrix.
    """

    frame: Frame
    energy: float
    gross: float
    mean: Matrix
    deviation: Real
    divisor: Real
    zero: float = 0.0
    moved: float = 0.0

    @property
    def vanishes(self) -> bool:
        """Whether the matrix is zero, or rounding of the data."""
        return bool(np.sqrt(self.energy) <= self.zero)


def zero_level(energy: float, stored: float) -> float:
    """What may count as zero in a matrix of that energy, ``||.||_F**2``, made of stored data of another: see `Statistics`.

    Each entry is right to the rounding of the stored one, which stays when the mean is taken out.
    """
    level = 8 * UNIT_ROUNDOFF * float(np.sqrt(stored))
    return level if np.sqrt(energy) <= level else 0.0


def entry_error(options: MatrixOptions, stored: float) -> float:
    """By how much rounding of entries may have moved a matrix made of stored data of that energy, in the Frobenius norm.

    Where columns are divided by what is found of them, that moves by as much again.
    """
    if options.step_rounding is None:
        return 0.0
    return (2.001 if options.scale else 1.001) * options.step_rounding * float(np.sqrt(stored))


def column_divisor(options: MatrixOptions, mean: Matrix, deviation: Real, alpha: float) -> Real:
    """By what columns of ``alpha A`` are divided, from their means and deviations; the deviation where they are not."""
    scaling = scaling_of(options.scale)
    if scaling is None:
        return deviation
    return np.asarray(scaling.divisor(mean, deviation, alpha))


def column_scale(options: MatrixOptions, divisor: Real, dropped: Matrix, n: int) -> Real:
    """``d``: weights over divisors, zero for columns that are dropped, or have no divisor, as constant ones."""
    d = np.ones(n) if options.column_weights is None else options.column_weights.copy()
    if options.scale:
        d = np.divide(d, divisor, out=np.zeros(n), where=divisor > 0)
    return np.where(dropped, 0.0, d)


def statistics(
    options: MatrixOptions, total: Moments, prep: Preparation, *, dropped: Matrix
) -> Statistics:
    """Moments about the pilot become the mean, the scale, the energy and the frame (rows streamed).

    Missing entries count as what they were filled with, but for the policies ``"mean"`` and ``"drop_columns"``: there
    the mean is that of the entries that are there, and squares are those of columns filled with it.
    """
    n = total.total.shape[0]
    pilot: Matrix = np.zeros(n, dtype=prep.wide) if prep.pilot is None else prep.pilot
    alpha, squares = prep.alpha, total.squares
    delta = total.total / total.weight
    if options.nonfinite in ("mean", "drop_columns") and prep.fill is not None:
        fill = prep.fill
        gone = total.missing_weight
        present = total.weight - gone
        there = total.total - gone * fill
        delta = np.divide(there, present, out=-alpha * pilot, where=present > 1e-12 * total.weight)
        squares = squares + gone * (np.abs(delta) ** 2 - np.abs(fill) ** 2)
    # Deviations are about the mean even where it is not subtracted, as a scale should not know of offsets.
    variance = np.maximum(squares / total.weight - np.abs(delta) ** 2, 0.0)
    about_zero = squares
    if prep.sparse:
        about_zero = squares + 2 * np.real(np.conj(alpha * pilot) * total.total)
        about_zero = about_zero + total.weight * np.abs(alpha * pilot) ** 2
    roundoff = 1e-14 * (about_zero / total.weight) + (1e-15 * np.abs(pilot) * alpha) ** 2
    deviation = np.sqrt(np.where(variance > roundoff, variance, 0.0))
    divisor = column_divisor(options, alpha * pilot + delta, deviation, alpha)
    d = column_scale(options, divisor, dropped, n)
    power, offset = squares, None
    if prep.pilot is not None:
        power = np.maximum(squares - total.weight * np.abs(delta) ** 2, 0.0)
        if not options.center:
            offset = alpha * pilot + delta
            power = power + total.weight * np.abs(offset) ** 2
    energy = float(np.sum(power * d * d))
    gross = float(np.sum(np.maximum(squares, power) * d * d))
    frame = Frame(d, None if prep.pilot is None else delta, total.weight, offset)
    stored = squares
    if prep.pilot is not None:
        centred = np.maximum(squares - total.weight * np.abs(delta) ** 2, 0.0)
        stored = centred + total.weight * np.abs(alpha * pilot + delta) ** 2
    level = float(np.sum(stored * d * d))
    zero, moved = zero_level(energy, level), entry_error(options, level)
    mean = pilot + delta / alpha
    if prep.sparse:  # sums are of what is stored, and round as it does
        gross = float(np.sum(np.maximum(np.maximum(squares, power), about_zero) * d * d))
    return Statistics(frame, energy, gross, mean, deviation / alpha, divisor / alpha, zero, moved)
