"""Blocks of sparse rows are what the same blocks are with their zeros: products, sums, and all that is prepared of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from streamsvd.engine.device import NumpyBackend
from streamsvd.numerics import products
from streamsvd.numerics.blocks import BadEntry, BlockPreparer, OutsideLimits, Preparation
from streamsvd.numerics.sparse_rows import SparseRows, center_rows
from streamsvd.numerics.support import Support

KINDS = ("float64", "float32", "complex128")


def rows_of(seed, p, n, density, kind="float64"):
    rng = np.random.default_rng(seed)
    S = sparse.random_array((p, n), density=density, rng=rng, format="csr")
    values = rng.standard_normal(S.nnz) + 1
    if kind.startswith("complex"):
        values = values + 1j * rng.standard_normal(S.nnz)
    S.data = values.astype(kind)
    S.sum_duplicates()
    return S, rng


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 60), st.floats(0, 1), st.sampled_from(KINDS), st.booleans())  # fmt: skip
def test_products_less_a_rank_one_matrix(seed, p, n, density, kind, weighted):
    S, rng = rows_of(seed, p, n, density, kind)
    wide = "complex128" if kind.startswith("complex") else "float64"
    X = SparseRows(S, rng.standard_normal(p).astype(kind), rng.standard_normal(n).astype(kind))
    D = X.dense().astype(wide)
    Q = rng.standard_normal((n, 3)).astype(kind)
    Y = products.forward(X, Q)
    eps = 1e-5 if kind == "float32" else 1e-12
    np.testing.assert_allclose(Y, D @ Q, atol=eps * 10 * n)
    weights = rng.random(p) if weighted else None
    total = rng.standard_normal((n, 3)).astype(wide)
    W = total.copy()
    products.add_backward(W, slice(0, n), X, Y, weights)
    scaled = Y if weights is None else weights[:, None] * Y
    np.testing.assert_allclose(W, total + D.conj().T @ scaled, atol=eps * 100 * n * p)


def test_columns_without_entries_are_not_touched():
    S = sparse.csr_array(([1.0, 2.0], ([0, 3], [5, 90_000])), shape=(4, 100_000))
    total, before = np.zeros((100_000, 2)), np.zeros((100_000, 2))
    before[[5, 90_000]] = [[1, 1], [2, 2]]
    SparseRows(S).add_backward(total, np.ones((4, 2)), None)
    np.testing.assert_array_equal(total, before)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.booleans())  # fmt: skip
def test_sums_about_a_pilot(seed, p, n, density, weighted):
    S, rng = rows_of(seed, p, n, density)
    c = rng.standard_normal(n)
    w = rng.random(p) if weighted else None
    total, squares = SparseRows(S, np.ones(p), c).column_sums(w)
    D, each = S.toarray() - c, np.ones(p) if w is None else w
    np.testing.assert_allclose(total, each @ D, atol=1e-12 * p)
    np.testing.assert_allclose(squares, each @ D**2, atol=1e-12 * p)


def test_rows_less_their_means():
    S, rng = rows_of(1, 7, 9, 0.4)
    means = rng.standard_normal(7)
    np.testing.assert_allclose(
        center_rows(SparseRows(S), means).dense(), S.toarray() - means[:, None]
    )


def preparations(p, n, rng, axis):
    """Everything that may be asked of a block."""
    yield Preparation(axis)
    yield Preparation(axis, alpha=0.25)
    yield Preparation(axis, weights=rng.random(p if axis == "rows" else n))
    if axis == "rows":
        yield Preparation(axis, pilot=rng.standard_normal(n), alpha=2.0)
        yield Preparation(axis, policy="zero", fill=np.zeros(n))
        pilot = rng.standard_normal(n)
        yield Preparation(axis, pilot=pilot, policy="mean", fill=rng.standard_normal(n) - pilot)
        keep = rng.random(n) < 0.7
        keep[0] = True
        rows = rng.random(p)
        rows[: p // 2] = 0
        yield Preparation(axis, weights=rows, support=Support(rows > 0, keep))
        yield Preparation(axis, scale=True)
        return
    yield Preparation(axis, center=True)
    yield Preparation(axis, center=True, scale=True)
    yield Preparation(axis, scale=True, column_weights=rng.random(p))
    for policy in ("zero", "mean", "drop_columns"):
        yield Preparation(axis, center=True, policy=policy)


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("number", range(8))
def test_a_prepared_block_is_that_of_its_dense_self(axis, number):
    p, n = 23, 17
    S, rng = rows_of(number, p, n, 0.3)
    every = list(preparations(p, n, rng, axis))
    if number >= len(every):
        pytest.skip("there are fewer ways along columns")
    prep = every[number]
    if prep.policy != "raise":
        S.data[::5] = np.nan
    preparer = BlockPreparer(prep, NumpyBackend(), True, True)
    whole = S.toarray() if axis == "rows" else S.toarray().T
    dense, found = preparer.prepare(whole, 0, slice(0, n)), preparer.prepare(S, 0, slice(0, n))
    np.testing.assert_allclose(found.wide.dense(), dense.wide, atol=1e-13)
    if dense.weights is not None:
        np.testing.assert_allclose(found.weights, dense.weights, atol=1e-13)
    a, b = found.moments, dense.moments
    for name in (
        "total",
        "squares",
        "weight",
        "energy",
        "missing",
        "missing_weight",
        "mean_energy",
    ):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12, err_msg=name)
    for mine, theirs in zip(a.features, b.features, strict=True):
        np.testing.assert_allclose(mine[1], theirs[1], atol=1e-13)
        np.testing.assert_allclose(mine[2], theirs[2], atol=1e-13)
        np.testing.assert_array_equal(mine[4], theirs[4])


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_entry_that_is_no_number_is_named(axis, value):
    S, _ = rows_of(3, 9, 6, 0.5)
    S.data[11] = value
    row = int(np.searchsorted(S.indptr, 11, side="right")) - 1
    place = (4 + row, int(S.indices[11]))
    preparer = BlockPreparer(Preparation(axis), NumpyBackend(), True, True)
    with pytest.raises(BadEntry) as caught:
        preparer.prepare(S, 4, slice(0, 6))
    found = (caught.value.row, caught.value.column)
    assert found == (place if axis == "rows" else place[::-1])
    assert caught.value.value == ("NaN" if np.isnan(value) else "Inf")


def test_an_entry_outside_the_limits_of_a_scaling_is_named():
    S, _ = rows_of(3, 9, 6, 0.5)
    S.data[:] = 1.0
    S.data[7] = 3.0
    row = int(np.searchsorted(S.indptr, 7, side="right")) - 1
    preparer = BlockPreparer(Preparation("rows", scale="hwe"), NumpyBackend(), True, True)
    with pytest.raises(OutsideLimits) as caught:
        preparer.prepare(S, 0, slice(0, 6))
    assert (caught.value.row, caught.value.column) == (row, int(S.indices[7]))


def test_integers_that_float64_does_not_hold_are_named():
    S = sparse.csr_array(([1, 2**53 + 1], ([0, 1], [1, 0])), shape=(2, 2), dtype=np.int64)
    preparer = BlockPreparer(Preparation("rows"), NumpyBackend(), True, True)
    with pytest.raises(BadEntry) as caught:
        preparer.prepare(S, 0, slice(0, 2))
    assert (caught.value.row, caught.value.column) == (1, 0)
