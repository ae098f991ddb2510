"""Means of groups and a trend are those of least squares, entry by entry, however rows are cut and joined."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.numerics.row_fits import (
    add_rows,
    copy_sums,
    join_sums,
    row_fit,
    sums_bytes,
    zero_sums,
)


@st.composite
def problems(draw):
    """Rows with gaps, groups, times, and where they are cut."""
    m, n, n_groups = draw(st.integers(1, 30)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    X = rng.standard_normal((m, n)) + draw(st.sampled_from([0.0, 300.0, -1e8]))
    if draw(st.booleans()):
        X = X + 1j * rng.standard_normal((m, n))
    X[rng.random((m, n)) < draw(st.sampled_from([0.0, 0.3, 0.9]))] = np.nan
    groups = rng.integers(-1 if draw(st.booleans()) else 0, n_groups, m)
    times = np.round(rng.uniform(-1, 1, m), draw(st.sampled_from([0, 1, 6])))
    cuts = sorted(draw(st.lists(st.integers(0, m), max_size=3)))
    return X, groups, times, n_groups, [0, *cuts, m]


def reference_fit(X, groups, times, n_groups):
    """Least squares of each column over the entries that are there."""
    n = X.shape[1]
    level, slope = np.full((n_groups, n), np.nan, X.dtype), np.zeros(n, X.dtype)
    for j in range(n):
        there = ~np.isnan(X[:, j]) & (groups >= 0)
        if not there.any():
            continue
        G = np.eye(n_groups)[groups[there]]
        seen = G.any(axis=0)
        centred = times[there] - (G @ np.linalg.lstsq(G, times[there], rcond=None)[0])
        if np.abs(centred).max() > 1e-9:  # a slope can be told
            found = np.linalg.lstsq(np.c_[G[:, seen], times[there]], X[there, j], rcond=None)[0]
            level[seen, j], slope[j] = found[:-1], found[-1]
        else:
            level[seen, j] = np.linalg.lstsq(G[:, seen], X[there, j], rcond=None)[0]
    return level, slope


def fold(X, groups, times, n_groups, cuts, *, trend=True, gaps=True):
    """Sums of the parts, joined from the left."""
    whole = None
    for a, b in zip(cuts, cuts[1:], strict=False):
        sums = zero_sums(n_groups, X.shape[1], X.dtype, has_gaps=gaps, has_trend=trend)
        add_rows(sums, X[a:b].copy(), groups[a:b], times[a:b] if trend else None)
        whole = sums if whole is None else join_sums(copy_sums(whole), sums)
    return whole


@given(problems())
def test_the_fit_is_that_of_least_squares(problem):
    X, groups, times, n_groups, cuts = problem
    fit = row_fit(fold(X, groups, times, n_groups, cuts))
    level, slope = reference_fit(X, groups, times, n_groups)
    scale = max(1.0, np.nanmax(np.abs(X), initial=0.0))
    spread = 1e-9 if np.isnan(X).any() else 1e-10
    residual = [
        c - a[np.maximum(groups, 0)] - times[:, None] * s
        for c, a, s in ((X, fit.level, fit.slope), (X, level, slope))
    ]
    there = ~np.isnan(X) & (groups >= 0)[:, None]
    np.testing.assert_allclose(residual[0][there], residual[1][there], rtol=0, atol=spread * scale)
    np.testing.assert_array_equal(np.isnan(fit.level), np.isnan(level))


@given(problems())
def test_without_a_trend_levels_are_means(problem):
    X, groups, times, n_groups, cuts = problem
    fit = row_fit(fold(X, groups, times, n_groups, cuts, trend=False))
    assert fit.slope is None
    for group in range(n_groups):
        rows = X[groups == group]
        for j in range(X.shape[1]):
            there = rows[~np.isnan(rows[:, j]), j]
            if not there.size:
                assert np.isnan(fit.level[group, j])
            else:
                np.testing.assert_allclose(
                    fit.level[group, j], there.mean(), rtol=1e-12, atol=1e-12 * np.abs(there).max()
                )


def test_residuals_are_orthogonal_to_what_was_fitted():
    rng = np.random.default_rng(0)
    X, groups, times = rng.standard_normal((60, 3)), np.arange(60) % 7, np.linspace(-1, 1, 60)
    fit = row_fit(fold(X, groups, times, 7, [0, 25, 60]))
    left = X - fit.level[groups] - times[:, None] * fit.slope
    assert np.abs(np.eye(7)[groups].T @ left).max() < 1e-12
    assert np.abs(times @ left).max() < 1e-12


def test_integers_need_no_count_for_each_column():
    X = np.arange(24.0).reshape(8, 3)
    groups, times = np.arange(8) % 2, np.linspace(-1, 1, 8)
    narrow = row_fit(fold(X, groups, times, 2, [0, 3, 8], gaps=False))
    wide = row_fit(fold(X, groups, times, 2, [0, 3, 8]))
    np.testing.assert_allclose(narrow.level, wide.level, rtol=1e-13)
    np.testing.assert_allclose(narrow.slope, wide.slope, rtol=1e-13)


@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize("trend", [True, False])
def test_bytes_of_sums_are_counted(gaps, trend):
    sums = zero_sums(5, 7, "c16", has_gaps=gaps, has_trend=trend)
    held = [getattr(sums, name) for name in ("count", "mean", "time", "tt", "tx")]
    assert sums_bytes(5, 7, 16, has_gaps=gaps, has_trend=trend) == sum(
        a.nbytes for a in held if a is not None
    )
