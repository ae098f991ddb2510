"""From stored entries to a block of sparse rows that is multiplied, with its moments: what `BlockPreparer` does of dense ones.

Along rows ``X = alpha (S - 1 pilot)``; along columns a row of the block is a column of ``A``, less its mean. Neither is filled in.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.numerics.blocks import (
    Array,
    BadEntry,
    BlockPreparer,
    Moments,
    OutOfScale,
    OutsideLimits,
    PreparedBlock,
    empty_ends,
    faint_threshold,
)
from streamsvd.numerics.scalings import SLACK, scaling_of
from streamsvd.numerics.sparse_rows import SparseRows, center_rows, with_values
from streamsvd.typing import Matrix, Real


def prepare_sparse(preparer: BlockPreparer, stored: Any, start: int) -> PreparedBlock:
    """A block of the entries that are stored, given its first row; along columns, its first column."""
    prep = preparer.prep
    stored = _blank_outside_support(preparer, stored, start)
    _check_integers(preparer, stored, start)
    if prep.axis == "columns":
        return _prepare_columns(preparer, stored, start)
    return _prepare_rows(preparer, stored, start)


def _blank_outside_support(preparer: BlockPreparer, stored: Any, start: int) -> Any:
    """The block with 0 in rows and columns that do not count."""
    support, along = preparer.prep.support, preparer.prep.axis == "rows"
    if support.whole:
        return stored
    mine, other = (support.rows, support.columns) if along else (support.columns, support.rows)
    values = stored.data
    if mine is not None:
        there = np.repeat(mine[start : start + stored.shape[0]], np.diff(stored.indptr))
        values = np.where(there, values, values.dtype.type(0))
    if other is not None:
        values = np.where(other[stored.indices], values, values.dtype.type(0))
    return with_values(stored, values)


def _prepare_rows(preparer: BlockPreparer, stored: Any, start: int) -> PreparedBlock:
    prep = preparer.prep
    p, n = stored.shape
    exact = preparer.need_wide or preparer.need_moments
    kind = prep.wide if exact else prep.narrow
    values = stored.data.astype(kind, copy=False)
    if prep.alpha != 1:
        values = values * prep.alpha
    weights = None if prep.weights is None else prep.weights[start : start + p]
    center = None if prep.pilot is None else prep.alpha * prep.pilot
    missing = gone = np.zeros(n)
    if prep.fill is not None and (holes := np.isnan(values)).any():
        where = stored.indices[holes]
        fill = prep.fill if center is None else prep.fill + center
        values = values.copy()
        values[holes] = fill[where]
        missing = gone = np.bincount(where, minlength=n).astype(np.float64)
        if weights is not None:
            each = np.repeat(weights, np.diff(stored.indptr))[holes]
            gone = np.bincount(where, weights=each, minlength=n)
    rows = SparseRows(with_values(stored, values))
    if center is not None:
        ones = np.ones(p, dtype=kind)
        rows = replace(rows, column=ones, row=center.astype(kind))
    tally = None
    if preparer.need_moments:
        total, squares = rows.column_sums(weights)
        energy = float(np.sum(squares))
        _check_energy(preparer, energy, stored, start)
        weight = float(p if weights is None else np.sum(weights))
        largest = _largest(values, energy)
        ends = _column_ends(preparer, stored, start, squares)
        _check_limits(preparer, stored, values, start)
        tally = Moments(total, squares, weight, energy, missing, gone, largest, ends=ends)
    narrow = rows.astype(prep.narrow)
    return PreparedBlock(narrow, rows if exact else None, weights, tally)


def _prepare_columns(preparer: BlockPreparer, stored: Any, start: int) -> PreparedBlock:
    prep = preparer.prep
    p, m = stored.shape
    values = stored.data.astype(prep.wide)
    if preparer.need_moments and not np.isfinite(np.sum(np.abs(values))):
        _raise_bad_entry(preparer, stored, start)
    holes = None if prep.policy == "raise" else np.isnan(values)
    if holes is not None and not holes.any():
        holes = None
    if holes is not None:
        values[holes] = 0
    if prep.alpha != 1:
        values *= prep.alpha
    if preparer.need_moments:
        _check_limits(preparer, stored, values, start)
    w = np.ones(m) if prep.weights is None else prep.weights
    lines = np.repeat(np.arange(p), np.diff(stored.indptr))
    means, values, with_holes = _column_means(preparer, stored, values, holes, lines, w)
    total_weight = float(np.sum(w))
    power = with_values(stored, np.real(values * np.conj(values))) @ w
    about = power
    if prep.center or prep.scale:
        about = np.maximum(power - total_weight * np.abs(means) ** 2, 0.0)
    spread = np.sqrt(np.where(about > 1e-14 * power, about, 0.0) / total_weight)
    if prep.scale:
        alive = (spread > 1e-15 * np.abs(means)) & (about >= faint_threshold(prep.weights))
        scaling = scaling_of(prep.scale)
        assert scaling is not None
        spread = np.asarray(scaling.divisor(means, np.where(alive, spread, 0.0), prep.alpha))
    factor = _column_factor(preparer, spread, with_holes, start)
    rows = SparseRows(with_values(stored, np.conj(values)))
    mean_energy = 0.0
    if prep.center:
        rows, power = center_rows(rows, np.conj(means)), about
        mean_energy = float(total_weight * np.sum(np.abs(means * factor) ** 2))
    tally = None
    if preparer.need_moments:
        energy = float(np.sum(power * factor * factor))
        _check_energy(preparer, energy, stored, start)
        ends = _row_ends(preparer, stored, about)
        feature = (start, means / prep.alpha, spread / prep.alpha, ends, factor == 0)
        none, count = np.zeros(1), np.full(1, 0.0 if holes is None else float(holes.sum()))
        largest = _largest(values, float(np.sum(power)))
        tally = Moments(none, none, float(p), energy, count, none, largest, (feature,), mean_energy=mean_energy)  # fmt: skip
    return PreparedBlock(rows.astype(prep.narrow), rows, factor * factor, tally)


def _column_means(
    preparer: BlockPreparer, stored: Any, values: Array, holes: Array | None, lines: Array, w: Real
) -> tuple[Matrix, Array, Array]:
    """Means of the columns of a block, its entries with holes filled, and which columns have some."""
    p = stored.shape[0]
    counted = np.full(p, float(np.sum(w)))
    with_holes = np.zeros(p, dtype=bool)
    total = with_values(stored, values) @ w
    if holes is None:
        return total / counted, values, with_holes
    with_holes = np.bincount(lines[holes], minlength=p) > 0
    if preparer.prep.policy not in ("mean", "drop_columns"):
        return total / counted, values, with_holes
    counted -= np.bincount(lines[holes], weights=w[stored.indices[holes]], minlength=p)
    means = total / np.where(counted > 0, counted, 1.0)
    values[holes] = means[lines[holes]]
    return means, values, with_holes


def _column_factor(preparer: BlockPreparer, spread: Real, with_holes: Array, start: int) -> Real:
    """Scale of each column: weight over deviation, zero where it is constant or dropped."""
    prep, factor = preparer.prep, np.ones_like(spread)
    if prep.scale:
        factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    if prep.column_weights is not None:
        factor = factor * prep.column_weights[start : start + spread.shape[0]]
    if prep.policy == "drop_columns":
        factor = np.where(with_holes, 0.0, factor)
    return factor


def _largest(values: Array, energy: float) -> float:
    """Largest modulus of a block so small that squares may have vanished; 0 of any other."""
    return float(np.max(np.abs(values), initial=0.0)) if energy < 1e-200 else 0.0


def _check_energy(preparer: BlockPreparer, energy: float, stored: Any, start: int) -> None:
    """Raise where squares are no numbers, or so large that they may leave their range."""
    if energy < preparer.energy_limit:
        return
    _raise_bad_entry(preparer, stored, start)
    raise OutOfScale(float(np.nanmax(np.abs(stored.data))))


def _raise_bad_entry(preparer: BlockPreparer, stored: Any, start: int) -> None:
    """Raise for the first entry that is Inf, or NaN where the policy is to raise."""
    values = stored.data
    bad = ~np.isfinite(values) if preparer.prep.policy == "raise" else np.isinf(values)
    if bad.any():
        at = int(np.argmax(bad))
        raise BadEntry(
            "NaN" if np.isnan(values[at]) else "Inf", *_place(preparer, stored, at, start)
        )


def _place(preparer: BlockPreparer, stored: Any, at: int, start: int) -> tuple[int, int]:
    """Row and column of a stored entry in the matrix."""
    line = start + int(np.searchsorted(stored.indptr, at, side="right")) - 1
    other = int(stored.indices[at])
    return (line, other) if preparer.prep.axis == "rows" else (other, line)


def _check_integers(preparer: BlockPreparer, stored: Any, start: int) -> None:
    """Raise for an integer that float64 does not hold."""
    values = stored.data
    if not preparer.need_moments or values.dtype.kind not in "iu" or values.dtype.itemsize < 8:
        return
    bad = values > 2**53
    if values.dtype.kind == "i":
        bad |= values < -(2**53)
    if bad.any():
        at = int(np.argmax(bad))
        raise BadEntry(str(values[at]), *_place(preparer, stored, at, start))


def _check_limits(preparer: BlockPreparer, stored: Any, values: Array, start: int) -> None:
    """Raise for the first entry outside the limits of the scaling, among which 0 is."""
    prep = preparer.prep
    scaling = scaling_of(prep.scale)
    if scaling is None or scaling.limits is None or not values.size:
        return
    low, high = (x + side * SLACK for x, side in zip(scaling.limits, (-1, 1), strict=True))
    bad = (values < prep.alpha * low) | (values > prep.alpha * high)
    if bad.any():
        at = int(np.argmax(bad))
        place = _place(preparer, stored, at, start)
        raise OutsideLimits(f"{stored.data[at]:g}", *place, scaling.meaning)


def _column_ends(preparer: BlockPreparer, stored: Any, start: int, squares: Real) -> Real | None:
    """Least and largest entry of the columns whose squares may have vanished; None where none have."""
    prep = preparer.prep
    if not _may_vanish(preparer, stored, squares):
        return None
    p, n = stored.shape
    counted = (
        np.ones(p, bool) if prep.support.rows is None else prep.support.rows[start : start + p]
    )
    faint = squares < faint_threshold(prep.weights)
    if prep.support.columns is not None:
        faint &= prep.support.columns
    lines = np.repeat(counted, np.diff(stored.indptr))
    return _ends_by(stored.indices, stored.data, lines, faint, int(counted.sum()), n, prep.policy)


def _row_ends(preparer: BlockPreparer, stored: Any, about: Real) -> Real | None:
    """The same along columns, where each is a row of the block."""
    prep = preparer.prep
    if not _may_vanish(preparer, stored, about):
        return None
    p, m = stored.shape
    counted = np.ones(m, bool) if prep.support.rows is None else prep.support.rows
    lines = np.repeat(np.arange(p), np.diff(stored.indptr))
    faint = about < faint_threshold(prep.weights)
    return _ends_by(lines, stored.data, counted[stored.indices], faint, int(counted.sum()), p, prep.policy)  # fmt: skip


def _may_vanish(preparer: BlockPreparer, stored: Any, squares: Real) -> bool:
    return (
        bool(preparer.prep.scale) and stored.dtype.char in "dD" and bool(np.min(squares) < 1e-190)
    )


def _ends_by(
    group: Array, values: Array, counted: Array, faint: Array, n_counted: int, n: int, policy: str
) -> Real:
    """Least and largest of the entries of each group that is faint, those that are not stored too."""
    there = counted & faint[group]
    group, values = group[there], values[there]
    parts = np.stack([values.real, values.imag], 1) if values.dtype.kind == "c" else values[:, None]
    if policy != "zero":
        whole = ~np.isnan(parts).any(axis=1)
    else:
        whole, parts = np.ones(len(parts), bool), np.nan_to_num(parts)
    out = empty_ends(n, parts.shape[1])
    for k in range(parts.shape[1]):
        np.minimum.at(out[0, :, k], group[whole], parts[whole, k])
        np.maximum.at(out[1, :, k], group[whole], parts[whole, k])
    lacking = faint & (np.bincount(group, minlength=n) < n_counted)
    out[0, lacking] = np.minimum(out[0, lacking], 0.0)
    out[1, lacking] = np.maximum(out[1, lacking], 0.0)
    return out
