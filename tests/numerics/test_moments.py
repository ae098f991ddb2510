from __future__ import annotations

import numpy as np
import pytest

from streamsvd.numerics import moments


def block(dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((11, 4)) + 3
    return (X + 1j * rng.standard_normal((11, 4)) if np.dtype(dtype).kind == "c" else X).astype(
        dtype
    )


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_those_of_columns_and_of_their_squared_moduli(xp, dtype, weighted):
    X = block(dtype)
    w = np.linspace(0.1, 2, 11) if weighted else np.ones(11)
    total, squares = moments.column_sums(xp.array(X), xp.array(w) if weighted else None)
    np.testing.assert_allclose(xp.host(total), (w[:, None] * X).sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(
        xp.host(squares), (w[:, None] * np.abs(X) ** 2).sum(axis=0), rtol=1e-13
    )
    assert xp.host(squares).dtype == np.float64
    assert xp.host(total).dtype == np.dtype(dtype)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_sums_about_a_pilot_give_the_moments_about_the_mean(dtype):
    """The identity of the module: exact for any pilot, and nothing cancels when it is near the mean."""
    X, w = block(dtype) + 1e6, np.linspace(0.1, 2, 11)
    mean = (w[:, None] * X).sum(axis=0) / w.sum()
    truth = (w[:, None] * np.abs(X - mean) ** 2).sum(axis=0)
    pilot = np.full(4, 1e6 + 2.5)
    total, squares = moments.column_sums(X - pilot, w)
    delta = total / w.sum()
    np.testing.assert_allclose(squares - w.sum() * np.abs(delta) ** 2, truth, rtol=1e-8)
    np.testing.assert_allclose(pilot + delta, mean, rtol=1e-14)


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (0, 3)])
def test_squares_of_rows_are_those_of_their_entries(xp, shape):
    X = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(
        xp.host(moments.row_squares(xp.array(X))), (X**2).sum(axis=1), rtol=1e-14
    )
