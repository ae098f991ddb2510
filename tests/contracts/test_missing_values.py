"""A NaN is an error that names it, or what the policy makes of it: the matrix as numpy would have filled it."""

from __future__ import annotations

import numpy as np
import pytest

from streamsvd import NonFiniteError, SpecError
from tests.contracts.verbs import holed, matrix, where

ALL = ("raise", "zero", "mean", "drop_columns")


def following(policy):
    """Contracts whose verb has a policy."""
    return [p for p in where("nonfinite") if policy in p.values[0].policies]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("contract", where("nonfinite"))
def test_what_is_not_finite_is_named_by_row_and_column(contract, value):
    A = matrix()
    A[4321, 5] = value
    named = contract.kind.where(4321, 5)
    with pytest.raises(NonFiniteError, match=named):
        contract.run(contract.stored(A))
    if value == np.inf:  # under every policy
        for policy in contract.policies:
            with pytest.raises(NonFiniteError, match=f"Inf.*{named}"):
                contract.run(contract.stored(A), nonfinite=policy)


@pytest.mark.parametrize("contract", following("zero"))
def test_zero_is_the_matrix_with_zeros(contract):
    found = contract.run(contract.stored(holed()), nonfinite="zero")
    contract.assert_close(found, contract.run(contract.stored(np.nan_to_num(holed()))))


@pytest.mark.parametrize("contract", following("mean"))
def test_mean_is_the_matrix_with_the_means_of_its_columns(contract):
    A = holed()
    found = contract.run(contract.stored(A), nonfinite="mean")
    filled = np.where(np.isnan(A), np.nanmean(A, 0), A)
    contract.assert_close(found, contract.run(contract.stored(filled)))


@pytest.mark.parametrize("contract", following("drop_columns"))
def test_drop_columns_is_the_matrix_without_them(contract):
    A = holed()
    kept = ~np.isnan(A).any(axis=0)
    found = contract.run(contract.stored(A), nonfinite="drop_columns")
    expected = contract.run(contract.stored(np.ascontiguousarray(A[:, kept])))
    contract.assert_close(found, expected, kept, contract.left_out)
    assert found.info.dropped_columns == (1, 4, 6)


@pytest.mark.parametrize("contract", where("nonfinite"))
def test_a_policy_that_is_unknown_or_has_no_meaning_is_refused(contract):
    for policy in {"ignore", *ALL} - {"raise", *contract.policies, *contract.further_policies}:
        with pytest.raises(SpecError, match=rf"nonfinite=['\"]{policy}['\"] .*[Pp]ass"):
            contract.run(contract.stored(matrix()), nonfinite=policy)
