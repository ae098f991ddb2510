"""Sketches by sparse signs: linear, mergeable, and near to an isometry of the columns."""

from __future__ import annotations

import numpy as np

from streamsvd.rows.mathematics import NONZEROS, RowSpace, SparseSignSketch


def sketch(A, height, *, seed=0, cut=100):
    state = SparseSignSketch.zero(height, A.shape[1], seed=seed)
    for a in range(0, A.shape[0], cut):
        state = state.update(a, A[a : a + cut])
    return state


def test_every_row_has_eight_signs_one_in_each_part():
    S = sketch(np.eye(300), 20).Y
    assert S.shape == (NONZEROS, 20, 300)
    np.testing.assert_array_equal((S != 0).sum(axis=1), 1)
    np.testing.assert_allclose(np.abs(S[S != 0]), 1 / np.sqrt(NONZEROS))
    assert 0.4 < np.mean(S[S != 0] > 0) < 0.6
    places = np.argmax(S != 0, axis=1)
    assert np.bincount(places.ravel(), minlength=20).min() > 60


def test_it_is_linear_in_the_rows_and_sums_over_parts():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((300, 5))
    S = sketch(np.eye(300), 11).Y
    np.testing.assert_allclose(sketch(A, 11).Y, S @ A, atol=1e-12)
    first = SparseSignSketch.zero(11, 5, seed=0).update(0, A[:120])
    second = SparseSignSketch.zero(11, 5, seed=0).update(120, A[120:])
    np.testing.assert_allclose(first.merge(second).Y, S @ A, atol=1e-12)
    assert not np.allclose(sketch(A, 11, seed=1).Y, S @ A)


def test_the_triangle_makes_the_columns_nearly_orthonormal():
    rng = np.random.default_rng(1)
    for A in (
        rng.standard_normal((4000, 60)),
        np.vstack([30 * np.eye(60), rng.standard_normal((3000, 60))]),
    ):
        A = A * np.geomspace(1, 1e-6, 60)
        for seed in range(5):
            space = RowSpace.of(sketch(A, 60, seed=seed, cut=1000).triangle())
            s = np.linalg.svd(A @ space.W, compute_uv=False)
            assert 0.68 < s[-1] < s[0] < 1.75  # 0.739 and 1.547 for Gaussian sketches of many rows
