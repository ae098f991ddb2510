"""The symmetric product is added in place, as BLAS adds it, whatever the type and the order of the entries."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import blas

from streamsvd.numerics.rank_update import add_products


@pytest.mark.parametrize("n_columns", [0, 1, 5, 200])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", "fdFD")
def test_it_is_the_routine_of_blas(kind, order, n_columns):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, n_columns)) + 1j * rng.standard_normal((40, n_columns))
    X = np.asarray(X if kind in "FD" else X.real, dtype=kind, order=order if kind in "fd" else "F")
    C = np.asfortranarray(np.arange(1600.0).reshape(40, 40).astype(kind))
    expected = C.copy(order="F")
    if n_columns:
        routine = getattr(blas, {"f": "ssyrk", "d": "dsyrk", "F": "cherk", "D": "zherk"}[kind])
        by_columns = X.flags.f_contiguous
        expected = routine(1.0, X if by_columns else X.T, beta=1.0, c=expected, trans=int(not by_columns), lower=1)  # fmt: skip
    before = np.triu(C, 1)
    add_products(C, X)
    np.testing.assert_array_equal(np.tril(C), np.tril(expected))
    np.testing.assert_array_equal(np.triu(C, 1), before)


def test_what_it_cannot_write_into_is_refused():
    X = np.ones((3, 2))
    for C in (np.zeros((3, 4)).T[:3], np.zeros((3, 3), "f4", order="F"), np.zeros((2, 2), order="F")):  # fmt: skip
        with pytest.raises(AssertionError):
            add_products(C, X)
    C = np.zeros((3, 3), order="F")
    C.flags.writeable = False
    with pytest.raises(AssertionError):
        add_products(C, X)
