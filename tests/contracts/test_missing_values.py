"""A NaN is an error that names it, or what the policy makes of it: the matrix as numpy would have filled it."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd import NonFiniteError, SpecError
from tests.contracts.verbs import holed, matrix, stored, where


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("contract", where("nonfinite"))
def test_what_is_not_finite_is_named_by_row_and_column(contract, value):
    A = matrix()
    A[4321, 5] = value
    with pytest.raises(NonFiniteError, match="at row 4321, column 5") as bad:
        contract.run(stored(A))
    assert (bad.value.row, bad.value.column) == (4321, 5)
    if value == np.inf:  # under every policy
        with pytest.raises(NonFiniteError, match="Inf at row 4321, column 5"):
            contract.run(stored(A), nonfinite="zero")


@pytest.mark.parametrize("contract", where("nonfinite"))
def test_zero_is_the_matrix_with_zeros(contract):
    found = contract.run(stored(holed()), nonfinite="zero")
    contract.assert_close(found, contract.run(stored(np.nan_to_num(holed()))))


@pytest.mark.parametrize("contract", where("nonfinite"))
def test_mean_is_the_matrix_with_the_means_of_its_columns(contract):
    A = holed()
    found = contract.run(stored(A), nonfinite="mean")
    contract.assert_close(found, contract.run(stored(np.where(np.isnan(A), np.nanmean(A, 0), A))))


@pytest.mark.parametrize("contract", where("nonfinite"))
def test_drop_columns_is_the_matrix_without_them(contract):
    A = holed()
    kept = ~np.isnan(A).any(axis=0)
    found = contract.run(stored(A), nonfinite="drop_columns")
    expected = contract.run(stored(np.ascontiguousarray(A[:, kept])))
    contract.assert_close(found, expected, kept, contract.left_out)
    assert found.info.dropped_columns == (1, 4, 6)


@pytest.mark.parametrize("contract", where("nonfinite"))
def test_a_policy_that_is_unknown_is_refused(contract):
    with pytest.raises(SpecError, match="nonfinite='ignore' is unknown.*drop_columns"):
        contract.run(stored(matrix()), nonfinite="ignore")
