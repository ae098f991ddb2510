"""One matrix, one record of options and one seed are one answer, to the last bit, on any threads and on a cluster."""

from __future__ import annotations

import dask
import distributed
import pytest

from tests.contracts.verbs import CONTRACTS, matrix, reference, where


@pytest.mark.parametrize("contract", [pytest.param(c, id=c.label) for c in CONTRACTS])
def test_threads_do_not_change_a_bit(contract):
    for workers in (1, 2, 5):
        with dask.config.set(num_workers=workers):
            found = contract.run(contract.stored(matrix()))
        assert contract.bits(found) == reference(contract).bits, f"{workers} threads"


@pytest.mark.parametrize("contract", where("scheduler"))
def test_a_cluster_does_not_change_a_bit(contract, workers):
    with distributed.Client(workers):
        found = contract.run(contract.stored(matrix()))
    assert contract.bits(found) == reference(contract).bits
