"""From a stored rectangle to a block of rows of the matrix that is multiplied, with its moments.

The matrix that is multiplied is ``X = alpha (A - 1 pilot)``, rows weighted; scales of columns live in the
thin blocks, never in the data. Along columns a block is rows of ``A*``, whole columns of ``A``, which are
centred and scaled exactly where they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from scipy import sparse

from streamsvd.errors import FaintColumnError
from streamsvd.numerics import moments, products
from streamsvd.numerics.scalings import SLACK, Scale, scaling_of
from streamsvd.numerics.support import FULL_SUPPORT, Support
from streamsvd.options import Policy
from streamsvd.typing import Matrix, Real

Array = Any
Axis = Literal["rows", "columns"]
"""What a NaN may be where each block is seen once, and its columns are those of all blocks."""


class Backend(Protocol):
    """The two doors between host and device, and the namespace behind them; zeros are made on the device."""

    xp: Any
    has_float64: bool

    def to_device(self, a: Matrix, dtype: str | None = None) -> Array: ...
    def to_host(self, x: Array) -> Matrix: ...
    def zeros(self, shape: tuple[int, ...], dtype: str) -> Array: ...


class OutOfScale(ArithmeticError):
    """A block whose squares overflow under this power of two; ``size`` is its largest entry."""

    def __init__(self, size: float) -> None:
        super().__init__(size)
        self.size = size


def faint_threshold(weights: Real | None) -> float:
    """Sum of squares of a column below which some may have been lost to underflow; far above what was lost."""
    return 1e-290 if weights is None else 1e-290 * max(1.0, float(weights.max()))


def check_faint(ends: Real, first: int = 0) -> None:
    """Raise for a column that is not constant, of those whose squares are lost; the others have no ends.

    Raises
    ------
    FaintColumn
        It names the column, counted from ``first``.
    """
    spread = np.max(ends[1] - ends[0], axis=1)
    varies = spread > 1e-15 * np.max(np.abs(ends), axis=(0, 2))  # more than a mean is rounded
    if varies.any():
        j = int(np.argmax(varies))
        raise FaintColumnError(first + j, float(spread[j]))


def empty_ends(n_columns: int, parts: int) -> Real:
    """Least and largest entry of no row."""
    return np.stack([np.full((n_columns, parts), end) for end in (np.inf, -np.inf)])


class BadEntry(ValueError):
    """A NaN or Inf that the policy does not allow, at (row, column) of the fold's matrix."""

    def __init__(self, value: str, row: int, column: int) -> None:
        super().__init__(value, row, column)
        self.value, self.row, self.column = value, row, column


class OutsideLimits(BadEntry):
    """An entry that the scaling has no meaning for; ``meaning`` says what it takes."""

    def __init__(self, value: str, row: int, column: int, meaning: str) -> None:
        super().__init__(value, row, column)
        self.meaning = meaning


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """How a stored block becomes a block of rows of the matrix that is multiplied.

    Attributes
    ----------
    axis
        Whether blocks are rows of ``A`` or columns.
    alpha
        Power of two that brings entries near one, so that squares neither overflow nor vanish.
    pilot
        Subtracted from each row, ``(n,)``; None to leave the data as they are. Along rows only.
    weights
        Weights of the rows of ``A``, ``(m,)``.
    column_weights
        Weights of the columns of ``A``, ``(n,)``. Along columns only; else they are in the thin blocks.
    center, scale
        Along columns: centre each column and divide it as its scaling says. What a scaling takes is held to its limits along rows too.
    policy, fill
        What a NaN becomes: ``fill[j]``, in the units of ``X``, under any policy but ``"raise"``.
    single
        Multiply in float32 where a thin block asks for it.
    complex_
        Whether the data are complex.
    support
        Which rows and columns of ``A`` count: the others are never looked at.
    sparse
        Whether blocks hold the entries that are stored alone: then rounding is relative to them, not to what is about the pilot.
    """

    axis: Axis
    alpha: float = 1.0
    pilot: Matrix | None = None
    weights: Real | None = None
    column_weights: Real | None = None
    center: bool = False
    scale: Scale = False
    policy: Policy = "raise"
    fill: Matrix | None = None
    single: bool = False
    complex_: bool = False
    support: Support = FULL_SUPPORT
    sparse: bool = False

    @property
    def narrow(self) -> str:
        """Type of products where a thin block asks for single precision."""
        return ("complex64" if self.complex_ else "float32") if self.single else self.wide

    @property
    def wide(self) -> str:
        """Type of sums."""
        return "complex128" if self.complex_ else "float64"


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over rows of ``X``: what the first pass learns besides products.

    Attributes
    ----------
    total, squares
        Weighted sums of the columns and of their squared moduli, ``(n,)``; along rows only.
    weight
        Sum of the weights of the rows, or their number.
    energy
        ``||X||_F**2``, weighted.
    missing
        Number of missing entries of each column, ``(n,)`` (along columns: one number, the sum).
    missing_weight
        Sum of the weights of their rows, ``(n,)``; along rows only.
    largest
        Largest modulus of an entry of ``X`` where its square might have vanished; 0 where none could.
    features
        Along columns: for each block its first column, the means, the deviations or what columns are divided by, ``ends``, and
        which columns are left out.
    ends
        Under scaling, where squares of a column may have vanished: least and largest entry of each such
        column, by real and imaginary part, ``(2, n, 1)`` or ``(2, n, 2)``; on the host, and None elsewhere.
    mean_energy
        Along columns: energy of the means that were taken out, in the units of ``energy``.
    """

    total: Array
    squares: Array
    weight: float
    energy: float
    missing: Array
    missing_weight: Array
    largest: float = 0.0
    features: tuple[tuple[int, Real, Real, Real | None, Any], ...] = ()
    ends: Real | None = None
    mean_energy: float = 0.0

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both."""
        return Moments(
            self.total + other.total,
            self.squares + other.squares,
            self.weight + other.weight,
            self.energy + other.energy,
            self.missing + other.missing,
            self.missing_weight + other.missing_weight,
            max(self.largest, other.largest),
            (*self.features, *other.features),
            _merge_ends(self.ends, other.ends),
            self.mean_energy + other.mean_energy,
        )


def _merge_ends(a: Real | None, b: Real | None) -> Real | None:
    if a is None or b is None:
        return b if a is None else a
    return np.stack([np.minimum(a[0], b[0]), np.maximum(a[1], b[1])])


@dataclass(frozen=True, slots=True, eq=False)
class PreparedBlock:
    """A prepared block: ``wide`` for sums (None where nothing needs it), ``narrow`` for products."""

    narrow: Array
    wide: Array | None
    weights: Array | None
    moments: Moments | None

    def like(self, thin: Array) -> Array:
        """The block in the type of what it is multiplied with."""
        if self.wide is not None and thin.dtype == self.wide.dtype:
            return self.wide
        return self.narrow


@dataclass(frozen=True, slots=True, eq=False)
class BlockPreparer:
    """Prepares blocks on one device; constants are sent there once a span."""

    prep: Preparation
    backend: Backend
    need_wide: bool
    need_moments: bool
    device_constants: dict[str, Array] = field(default_factory=dict)

    def prepare(self, raw: Array, start: int, columns: slice) -> PreparedBlock:
        """Block of rows from a stored rectangle, given its first row (or column) and its columns."""
        if sparse.issparse(raw):
            from streamsvd.numerics.sparse_blocks import (
                prepare_sparse,
            )  # it fills in the records of this module

            return prepare_sparse(self, raw, start)
        if self.prep.axis == "columns":
            return self._prepare_columns(self._zero_outside_support(raw, 0, start), start)
        return self._prepare_rows(
            self._zero_outside_support(raw, start, columns.start), start, columns
        )

    def _zero_outside_support(self, raw: Array, row: int, column: int) -> Array:
        """The rectangle with 0 in rows and columns that do not count; itself where all of them do."""
        xp, there = self.backend.xp, self.prep.support.within(row, column, raw.shape)
        nought = None if there.whole else xp.zeros_like(raw[:1, :1])
        if there.rows is not None:
            raw = xp.where(self.backend.to_device(there.rows)[:, None], raw, nought)
        if there.columns is not None:
            raw = xp.where(self.backend.to_device(there.columns)[None, :], raw, nought)
        return raw

    def _constant(self, name: str, value: Matrix, dtype: str, part: slice) -> Array:
        key = f"{name}:{dtype}"
        if key not in self.device_constants:
            self.device_constants[key] = self.backend.to_device(value, dtype)
        return self.device_constants[key][part]

    def _prepare_rows(self, raw: Array, start: int, columns: slice) -> PreparedBlock:
        xp, prep = self.backend.xp, self.prep
        self._check_integers(raw, start, columns.start)
        exact = self.need_wide or self.need_moments
        shifted = prep.pilot is not None or prep.fill is not None
        # Subtracting in float32 would move singular values unseen; in the type of the probes it is seen.
        kind = prep.wide if exact and shifted else prep.narrow
        X = xp.astype(raw, getattr(xp, kind), copy=False)
        if prep.pilot is not None:
            X = X - self._constant("pilot", prep.pilot, kind, columns)[None, :]
        if prep.alpha != 1:
            X = X * prep.alpha
        p = X.shape[0]
        weights = None
        if prep.weights is not None:
            weights = self.backend.to_device(prep.weights[start : start + p], "float64")
        missing = gone = None
        if prep.fill is not None:
            X, missing, gone = self._fill_holes(X, weights, columns, kind)
        wide = xp.astype(X, getattr(xp, prep.wide), copy=False) if exact else None
        X = xp.astype(X, getattr(xp, prep.narrow), copy=False)
        tally = None
        if self.need_moments:
            total, squares = moments.column_sums(wide, weights)
            energy = self._to_float(xp.sum(squares))
            if not energy < self.energy_limit:
                self._raise_bad_entry(raw, start, columns.start)
                raise OutOfScale(float(np.nanmax(np.abs(self.backend.to_host(raw)))))
            weight = float(p)
            if prep.weights is not None:
                weight = float(np.sum(prep.weights[start : start + p]))
            if missing is None:
                missing = gone = xp.zeros_like(squares)
            weight = weight if columns.start == 0 else 0.0
            largest = self._largest(wide, energy)
            ends = self._ends(raw, start, columns.start, squares)
            self._check_limits(wide, raw, start, columns)
            tally = Moments(total, squares, weight, energy, missing, gone, largest, ends=ends)
        return PreparedBlock(X, wide, weights, tally)

    def _fill_holes(
        self, X: Array, weights: Array | None, columns: slice, kind: str
    ) -> tuple[Array, Array, Array]:
        """The block with its holes filled, how many each column has, and the weights of their rows."""
        assert self.prep.fill is not None
        xp = self.backend.xp
        holes = xp.isnan(X)
        fill = self._constant("fill", self.prep.fill, kind, columns)
        each = xp.astype(holes, xp.float64)
        count = weight = xp.sum(each, axis=0)
        if weights is not None:
            weight = xp.sum(each * weights[:, None], axis=0)
        return xp.where(holes, fill[None, :], X), count, weight

    def _prepare_columns(self, raw: Array, start: int) -> PreparedBlock:
        xp, prep = self.backend.xp, self.prep
        self._check_integers(raw, 0, start)
        X = xp.astype(raw, getattr(xp, prep.wide), copy=False)
        if self.need_moments and not np.isfinite(self._to_float(xp.sum(xp.abs(X)))):
            self._raise_bad_entry(raw, 0, start)
        holes = None if prep.policy == "raise" else xp.isnan(X)
        if holes is not None:
            X = xp.where(holes, xp.zeros_like(X), X)
        if prep.alpha != 1:
            X = X * prep.alpha
        if self.need_moments:
            self._check_limits(X, raw, 0, slice(start, start + X.shape[1]))
        m, p = X.shape
        w = self.backend.zeros((m, 1), "float64") + 1
        if prep.weights is not None:
            w = self.backend.to_device(prep.weights, "float64")[:, None]
        X, mean, rest = self._center_columns(X, holes, w, xp)
        power = about = self._power(X, w, xp)
        if (
            rest is not None and not prep.center
        ):  # deviations are about the mean, also where it stays
            about = self._power(rest, w, xp)
        spread = xp.sqrt(about / xp.sum(w))
        del rest
        if prep.scale:  # what is left of a constant column is the rounding of its mean
            alive = (spread > 1e-15 * xp.abs(mean)) & (about >= faint_threshold(prep.weights))
            spread = xp.where(alive, spread, xp.zeros_like(spread))
            scaling = scaling_of(prep.scale)
            assert scaling is not None
            spread = scaling.divisor(mean, spread, prep.alpha)
        factor = self._factor(spread, holes, start, xp)
        tally = None
        if self.need_moments:
            n_holes = 0.0 if holes is None else self._to_float(xp.sum(xp.astype(holes, xp.float64)))
            to_host = self.backend.to_host
            ends = self._ends(raw, 0, start, about)
            if ends is not None and holes is not None and prep.policy == "drop_columns":
                ends = np.where(to_host(xp.any(holes, axis=0))[:, None], empty_ends(p, 1), ends)
            moment = to_host(mean / prep.alpha), to_host(spread / prep.alpha)
            feature = (start, *moment, ends, np.asarray(to_host(factor == 0), dtype=bool))
            none = self.backend.zeros((1,), "float64")
            energy = self._to_float(xp.sum(power * factor * factor))
            if not energy < self.energy_limit:
                raise OutOfScale(float(np.nanmax(np.abs(self.backend.to_host(raw)))))
            largest = self._largest(X, self._to_float(xp.sum(power)))
            tally = Moments(none, none, float(p), energy, none + n_holes, none, largest, (feature,))
            if prep.center:
                offset = xp.sum(w) * xp.abs(mean * factor) ** 2
                tally = replace(tally, mean_energy=self._to_float(xp.sum(offset)))
        T = products.adjoint(X)
        narrow = xp.astype(T, getattr(xp, prep.narrow), copy=False)
        return PreparedBlock(narrow, T, factor * factor, tally)

    @staticmethod
    def _power(X: Array, w: Array, xp: Any) -> Array:
        square = xp.real(X * xp.conj(X)) if xp.isdtype(X.dtype, "complex floating") else X * X
        return xp.sum(w * square, axis=0)

    @property
    def energy_limit(self) -> float:
        """Energy of a block beyond which the power of two was wrong: far above that of entries of a million."""
        return 1e24

    def _center_columns(
        self, X: Array, holes: Array | None, w: Array, xp: Any
    ) -> tuple[Array, Array, Array | None]:
        """Columns less their weighted means where asked, the means, and what is about them where needed.

        Holes become what the policy says.
        """
        prep = self.prep
        averaged = prep.policy in ("mean", "drop_columns")
        counted = xp.sum(w)
        if averaged and holes is not None:  # means over what is there
            counted = xp.sum(w * xp.astype(~holes, xp.float64), axis=0)
            counted = xp.where(counted > 0, counted, xp.ones_like(counted))
        mean = xp.sum(X * w, axis=0) / counted
        if averaged and holes is not None:
            X = xp.where(holes, mean[None, :], X)
        if not prep.center and not prep.scale:
            return X, mean, None
        # Beside an offset one sum for the mean keeps few digits: the mean of what is left goes too.
        rest = X - mean[None, :]
        left = xp.sum(rest * w, axis=0) / counted
        rest = rest - left[None, :]
        if averaged and holes is not None:
            rest = xp.where(holes, xp.zeros_like(rest), rest)
            X = X if prep.center else xp.where(holes, (mean + left)[None, :], X)
        return (rest if prep.center else X), mean + left, rest

    def _factor(self, spread: Array, holes: Array | None, start: int, xp: Any) -> Array:
        """Scale of each column: weight over deviation, zero where it is constant or dropped."""
        prep = self.prep
        factor = xp.ones_like(spread)
        if prep.scale:
            alive = spread > 0
            factor = xp.where(alive, 1 / xp.where(alive, spread, factor), xp.zeros_like(spread))
        if prep.column_weights is not None:
            part = prep.column_weights[start : start + spread.shape[0]]
            factor = factor * self.backend.to_device(part, "float64")
        if holes is not None and prep.policy == "drop_columns":
            factor = xp.where(xp.any(holes, axis=0), xp.zeros_like(factor), factor)
        return factor

    def _largest(self, X: Array, energy: float) -> float:
        """Largest modulus of a block so small that squares may have vanished; 0 of any other."""
        return (
            self._to_float(self.backend.xp.max(self.backend.xp.abs(X))) if energy < 1e-200 else 0.0
        )

    def _ends(self, raw: Array, first_row: int, first_column: int, squares: Array) -> Real | None:
        """Least and largest entry of the columns whose squares may have vanished; None where none have."""
        xp, prep, to_host = self.backend.xp, self.prep, self.backend.to_host
        if not prep.scale or not xp.isdtype(raw.dtype, (xp.float64, xp.complex128)):
            return None  # the squares of narrower types do not vanish
        if not self._to_float(xp.min(squares)) < 1e-190:  # weights are at most 1e100
            return None
        vanishing = to_host(squares) < faint_threshold(prep.weights)
        counted = prep.support.within(first_row, first_column, raw.shape)
        if counted.columns is not None:
            vanishing = vanishing & counted.columns
        faint = np.flatnonzero(vanishing)
        if not faint.size:
            return None
        data = to_host(xp.take(raw, self.backend.to_device(faint), axis=1))
        data = np.ascontiguousarray(data).view("float64").reshape(*data.shape, -1)
        apart = np.isnan(data).any(axis=2, keepdims=True)
        if prep.policy == "zero":
            data, apart = np.where(apart, 0.0, data), np.zeros_like(apart)
        if counted.rows is not None:
            apart |= ~counted.rows[:, None, None]
        out = empty_ends(squares.shape[0], data.shape[2])
        out[0, faint] = np.where(apart, np.inf, data).min(axis=0)
        out[1, faint] = np.where(apart, -np.inf, data).max(axis=0)
        return out

    def _check_limits(self, X: Array, raw: Array, row: int, columns: slice) -> None:
        """Raise for the first entry outside the limits of the scaling, of a block whose holes are filled."""
        prep, xp = self.prep, self.backend.xp
        scaling = scaling_of(prep.scale)
        if scaling is None or scaling.limits is None or X.shape[0] == 0:
            return
        low, high = (
            limit + side * SLACK for limit, side in zip(scaling.limits, (-1, 1), strict=True)
        )
        pilot: Any = 0.0
        if prep.pilot is not None:
            pilot = self._constant("pilot", prep.pilot, prep.wide, columns)
        below = xp.min(X, axis=0) < prep.alpha * (low - pilot)
        above = xp.max(X, axis=0) > prep.alpha * (high - pilot)
        if not bool(xp.any(below | above)):
            return
        data = self.backend.to_host(raw)
        with np.errstate(invalid="ignore"):
            bad = (data < low) | (data > high)
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        raise OutsideLimits(
            f"{data[i, j]:g}", row + int(i), columns.start + int(j), scaling.meaning
        )

    def _check_integers(self, raw: Array, row: int, column: int) -> None:
        """Raise for an integer that float64 does not hold."""
        if not self.need_moments or self.backend.xp.isdtype(
            raw.dtype, ("real floating", "complex floating")
        ):
            return
        data = self.backend.to_host(raw)
        if data.dtype.itemsize < 8:
            return
        bad = (data > 2**53) | (data < -(2**53)) if data.dtype.kind == "i" else data > 2**53
        if bad.any():
            i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
            raise BadEntry(str(data[i, j]), row + int(i), column + int(j))

    def _to_float(self, x: Array) -> float:
        """A scalar of the device, on the host."""
        return float(self.backend.to_host(x))

    def _raise_bad_entry(self, raw: Array, row: int, column: int) -> None:
        """Raise for the first entry that is Inf, or NaN where the policy is to raise."""
        data = self.backend.to_host(raw)
        bad = ~np.isfinite(data) if self.prep.policy == "raise" else np.isinf(data)
        if not bad.any():
            return
        i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
        value = "NaN" if np.isnan(data[i, j]) else "Inf"
        raise BadEntry(value, row + int(i), column + int(j))
