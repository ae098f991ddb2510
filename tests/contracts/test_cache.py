"""A matrix that fits into what the memory leaves is read once, to the same bits as one that is read in every pass."""

from __future__ import annotations

import pytest

from tests.contracts.verbs import matrix, where

SEVERAL_PASSES = (
    "svd",
    "pca",
    "top_eigenvectors",
    "nystrom",
    "kernel_ridge",
    "sample_rows",
    "lstsq",
)
"""Verbs that read a matrix more than once, unless an option says otherwise."""


@pytest.mark.parametrize(
    "contract", [p for p in where("plan") if p.values[0].name in SEVERAL_PASSES]
)
def test_a_matrix_that_fits_is_read_once(contract):
    plan = contract.plan(contract.kind.unreadable(), memory="1GiB")
    assert plan.is_cached == (plan.passes >= 2)
    if not plan.is_cached:
        return
    assert "stays in memory" in plan.explain()
    less = plan.projected_bytes - 1
    assert not contract.plan(contract.kind.unreadable(), memory=less).is_cached
    once = contract.run(contract.stored(matrix()), memory="1GiB")
    again = contract.run(contract.stored(matrix()), memory=less)
    assert once.info.passes == pytest.approx(again.info.passes)
    whole = matrix().nbytes
    assert whole <= once.info.bytes_read < 2 * whole < again.info.bytes_read + whole // 2
    assert once.info.peak_bytes <= once.info.projected_bytes <= plan.projected_bytes
    if not contract.by_memory:
        assert contract.bits(once) == contract.bits(again)
