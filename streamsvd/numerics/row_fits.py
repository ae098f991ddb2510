"""Means of groups of rows, and a trend beside them, by least squares: one fold over the rows, entry by entry where some are missing.

Column ``j`` is fitted by ``x_i = a_g(i) + b t_i`` over its entries that are there. By Frisch, Waugh and Lovell the slope is that of what
is left when each group has lost its means of ``x`` and of ``t``: with ``n_g`` entries in group ``g``,

    ``b = sum_g C_g(t, x) / sum_g C_g(t, t)``,   ``a_g = mean_g(x) - b mean_g(t)``,
    ``C_g(u, v) = sum over group g of (u - mean_g(u)) (v - mean_g(v))``.

Means and ``C_g`` of two parts join by the update of Chan, Golub, LeVeque (1983), in which nothing cancels:

    ``C(u, v) = C_1(u, v) + C_2(u, v) + n_1 n_2 / (n_1 + n_2) (mean_2(u) - mean_1(u)) (mean_2(v) - mean_1(v))``.

Of ``C_g`` the sums over all groups are enough, so that a trend costs two numbers a column beside the means.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.typing import Matrix, Real

LEAST_SPREAD = 1e-24
"""Mean square of the times about their groups below which they tell no slope; times are near 1."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupSums:
    """What some rows add up.

    Attributes
    ----------
    count
        Entries that are there, of each group and column, ``(G, n)``; ``(G, 1)`` where none can be missing.
    mean
        Their means, ``(G, n)``; 0 where there are none.
    time
        Means of their times, in the shape of the counts; None without a trend.
    tt, tx
        ``C(t, t)`` and ``C(t, x)`` of each column, summed over the groups.
    """

    count: npt.NDArray[np.int64]
    mean: Matrix
    time: Real | None = None
    tt: Real | None = None
    tx: Matrix | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RowFit:
    """What is subtracted from each row: ``level[g] + slope * t``.

    Attributes
    ----------
    level
        ``a``, ``(G, n)``; NaN where a group has no entry of a column.
    slope
        ``b``, ``(n,)``; None without a trend.
    """

    level: Matrix
    slope: Matrix | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return int(self.level.nbytes) + (0 if self.slope is None else int(self.slope.nbytes))


def zero_sums(
    n_groups: int, n: int, dtype: npt.DTypeLike, *, has_gaps: bool, has_trend: bool
) -> GroupSums:
    """Of no rows; ``dtype`` is float64 or complex128."""
    width = n if has_gaps else 1
    count, mean = np.zeros((n_groups, width), np.int64), np.zeros((n_groups, n), dtype)
    if not has_trend:
        return GroupSums(count, mean)
    return GroupSums(count, mean, np.zeros((n_groups, width)), np.zeros(width), np.zeros(n, dtype))


def sums_bytes(n_groups: int, n: int, itemsize: int, *, has_gaps: bool, has_trend: bool) -> int:
    """Bytes of such sums; items are those of the means."""
    width = n if has_gaps else 1
    trend = n_groups * width * 8 + width * 8 + n * itemsize if has_trend else 0
    return n_groups * (8 * width + itemsize * n) + trend


def add_rows(
    sums: GroupSums, rows: Matrix, groups: npt.NDArray[np.integer[Any]], times: Real | None
) -> None:
    """Add rows to the sums, in their memory; the rows are used up.

    Parameters
    ----------
    sums
        Of the rows before.
    rows
        In float64 or complex128, NaN where an entry is missing.
    groups
        Number of the group of each; rows of a group below 0 are left out.
    times
        Of each; None without a trend.
    """
    has_gaps = sums.count.shape[1] == rows.shape[1] and bool(np.isnan(rows).any())
    for group in np.unique(groups[groups >= 0]).tolist():
        members = np.flatnonzero(groups == group)
        together = members[-1] - members[0] + 1 == members.size
        part = rows[members[0] : members[-1] + 1] if together else rows[members]
        _join_group(
            sums, group, _group_sums(part, None if times is None else times[members], has_gaps)
        )


def _group_sums(rows: Matrix, times: Real | None, has_gaps: bool) -> GroupSums:
    """Sums of rows of one group, without the axis of groups; the rows are written into."""
    there = None
    if has_gaps:
        gaps = np.isnan(rows)
        rows[gaps] = 0
        there = np.logical_not(gaps, out=gaps)
    count = np.full(1, rows.shape[0]) if there is None else there.sum(axis=0)
    least = np.maximum(count, 1)
    mean = rows.sum(axis=0) / least
    if times is None:
        return GroupSums(count, mean)
    rows -= mean
    if there is None:
        time = np.full(1, times.mean())
        apart = times - time
        return GroupSums(count, mean, time, np.full(1, apart @ apart), apart @ rows)
    time = np.einsum("i,ij->j", times, there) / least
    spread = times[:, None] - time
    spread *= there
    return GroupSums(
        count,
        mean,
        time,
        np.einsum("ij,ij->j", spread, spread),
        np.einsum("ij,ij->j", spread, rows),
    )


def join_sums(left: GroupSums, right: GroupSums) -> GroupSums:
    """Those of both, in the memory of the left."""
    if left.tt is not None and left.tx is not None and right.tt is not None:
        left.tt[...] += right.tt
        left.tx[...] += right.tx
    for group in range(len(left.count)):
        one = GroupSums(
            right.count[group], right.mean[group], None if right.time is None else right.time[group]
        )
        _join_group(left, group, one)
    return left


def copy_sums(sums: GroupSums) -> GroupSums:
    """The same in memory of its own."""
    return copy.deepcopy(sums)


def _join_group(sums: GroupSums, group: int, part: GroupSums) -> None:
    """Join what rows of one group add to its sums; ``C`` of the part is there where it was not added before."""
    before = sums.count[group]
    total = before + part.count
    share = part.count / np.maximum(total, 1)
    apart = part.mean - sums.mean[group]
    if sums.time is not None:
        assert part.time is not None
        assert sums.tt is not None
        assert sums.tx is not None
        later = part.time - sums.time[group]
        weight = before * share * later
        sums.tt[...] += weight * later
        sums.tx[...] += weight * apart
        if part.tt is not None:
            sums.tt[...] += part.tt
            sums.tx[...] += part.tx
        sums.time[group] += share * later
    sums.mean[group] += share * apart
    sums.count[group] = total


def row_fit(sums: GroupSums) -> RowFit:
    """The least squares that the sums stand for, in the memory of their means.

    The slope is 0 where the times of a column do not tell it from its levels: one row, or no two times in a group.
    """
    level, slope = sums.mean, None
    if sums.time is not None:
        assert sums.tt is not None
        assert sums.tx is not None
        tells = sums.tt > LEAST_SPREAD * np.maximum(sums.count.sum(axis=0), 1)
        slope = np.where(tells, sums.tx / np.where(tells, sums.tt, 1.0), 0)
        for group in range(len(level)):
            level[group] -= slope * sums.time[group]
    for group in range(len(level)):
        np.copyto(level[group], np.nan, where=sums.count[group] == 0)
    return RowFit(level, slope)
