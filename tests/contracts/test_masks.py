"""A mask is the run on the columns that it keeps; nothing is known of the others."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd import NonFiniteError, SpecError
from tests.contracts.verbs import N, matrix, where

KEPT = np.arange(N) % 3 != 2


@pytest.mark.parametrize("contract", where("mask"))
def test_a_mask_is_the_run_on_the_columns_it_keeps(contract):
    A = matrix()
    expected = contract.run(contract.stored(np.ascontiguousarray(A[:, KEPT])))
    A[:, ~KEPT] = np.nan  # and nobody looks
    found = contract.run(contract.stored(A), mask=KEPT)
    contract.assert_close(found, expected, KEPT, np.nan)
    assert found.info.dropped_columns == tuple(np.flatnonzero(~KEPT))


@pytest.mark.parametrize("contract", where("mask"))
def test_an_error_counts_columns_of_the_whole_matrix(contract):
    A = matrix()
    A[4321, 6] = np.nan
    with pytest.raises(NonFiniteError, match="at row 4321, column 6"):
        contract.run(contract.stored(A), mask=KEPT)


@pytest.mark.parametrize("contract", where("mask"))
def test_a_mask_of_other_columns_is_refused(contract):
    with pytest.raises(SpecError, match=rf"mask has shape \({N + 1},\).*{N} columns"):
        contract.run(contract.stored(matrix()), mask=np.ones(N + 1, bool))
