"""Counts of one read are those of numpy, however the matrix is cut."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import streamsvd
from streamsvd.conversion.counting import count_entries
from tests.matrices import Rows

KINDS = {
    "float64": lambda rng: rng.standard_normal((700, 9)),
    "float16": lambda rng: rng.standard_normal((700, 9)).astype("f2"),
    "int16": lambda rng: rng.integers(-30_000, 30_000, (700, 9), dtype="i2"),
    "uint8": lambda rng: rng.integers(0, 255, (700, 9), dtype="u1"),
    "complex128": lambda rng: rng.standard_normal((700, 9)) + 1j * rng.standard_normal((700, 9)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 64, 700])
def test_counts_are_those_of_numpy(kind, chunk):
    rng = np.random.default_rng(0)
    X = KINDS[kind](rng)
    X[:, 3] = 2
    if X.dtype.kind in "fc":
        X[rng.random(X.shape) < 0.1] = np.nan
        X[5, 0], X[6, 1] = np.inf, -np.inf
        X[:, 4] = np.nan
        X[650:, 3] = np.nan
    found = count_entries(Rows(X, chunk))
    finite = np.isfinite(X)
    size = np.abs(X[finite]) if X.dtype.kind == "c" else X[finite].astype(float)
    same = [len(np.unique(column[np.isfinite(column)])) == 1 for column in X.T]
    assert found.entries == X.size
    assert found.missing == np.isnan(X).sum()
    assert found.infinite == np.isinf(X).sum()
    assert found.columns_with_missing == np.isnan(X).any(axis=0).sum()
    assert found.columns_without_values == np.isnan(X).all(axis=0).sum()
    assert found.constant_columns == sum(same)
    np.testing.assert_allclose([found.low, found.high], [size.min(), size.max()], rtol=1e-15)
    assert found.info.bytes_read == X.nbytes


def test_entries_of_one_modulus_are_not_the_same():
    X = np.exp(1j * np.arange(300.0))[:, None] * np.ones(2)
    X[:, 1] = 1j
    assert count_entries(X).constant_columns == 1
    X[:, 0] = np.where(np.arange(300) < 150, 1, -1)
    assert count_entries(Rows(X, 10)).constant_columns == 1


def test_a_matrix_without_any_value_has_no_range():
    found = count_entries(np.full((40, 3), np.nan))
    assert (found.low, found.high, found.columns_without_values) == (None, None, 3)


def test_counts_are_the_same_on_any_number_of_threads():
    X = np.random.default_rng(1).standard_normal((5000, 6))
    found = []
    for count in (1, 4):
        with dask.config.set(num_workers=count):
            counts = count_entries(Rows(X, 100))
            found.append((counts.low, counts.high, counts.constant_columns))
    assert found[0] == found[1]


def test_too_little_memory_is_named():
    with pytest.raises(streamsvd.BudgetError, match="counting in 9 columns"):
        count_entries(np.ones((40, 9)), memory="1MiB")
