"""A matrix of which only some entries are stored gives what the same matrix gives with its zeros, whatever stores it."""

from __future__ import annotations

from operator import attrgetter

import dask
import distributed
import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd import BudgetError, NonFiniteError
from streamsvd.store.sources import border
from streamsvd.store.sources.sparse import compressed
from tests.contracts.verbs import M, N, matrix, new_place, where
from tests.matrices import Rows

SAME = 1e-12
KEPT = np.arange(N) % 3 != 2


def law(*capabilities):
    """Contracts of verbs that read sparse matrices; what `convert` writes of them has tests of its own."""
    return [p for p in where("sparse", *capabilities) if p.values[0].name != "convert"]


every = pytest.mark.parametrize("contract", law())


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch):
    """Runs of a few rows, so that a small matrix has many."""
    monkeypatch.setattr(border, "BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(compressed, "PIECE_ENTRIES", 3000)


def spotted():
    """A matrix of which four entries in ten are there, some rows empty."""
    rng = np.random.default_rng(5)
    A = np.where(rng.random((M, N)) < 0.4, matrix(), 0.0)
    A[rng.random(M) < 0.05] = 0
    return A


def stored_rows(A):
    """As AnnData stores it in zarr, in chunks that no run fits."""
    rows = sparse.csr_array(A)
    group = zarr.create_group(new_place())
    group.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(A.shape)}
    )
    for name in ("data", "indices", "indptr"):
        values = getattr(rows, name)
        group.create_array(name, data=values, chunks=(5000 if name != "indptr" else 1000,))
    return streamsvd.open(group)


FORMS = {"zarr": stored_rows, "csr": sparse.csr_array, "csc": sparse.csc_array}


def dense(A, form="csr"):
    """With its zeros, in runs of as many rows as are read at once."""
    return Rows(A, streamsvd.open(FORMS[form](A)).chunks[0])


def assert_same(contract, found, expected, rtol=None):
    """Values, what kind of certificate they have, and how the run ended."""
    # an iteration that ends by a tolerance may end elsewhere
    rtol = rtol or (contract.rtol if "krylov" in contract.label else SAME)
    mine, theirs = contract.values(found), contract.values(expected)
    for name in contract.arrays:
        x, y = mine[name], theirs[name]
        assert x.dtype == y.dtype
        scale = np.nanmax(np.abs(y), initial=0)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * scale, err_msg=name)
    for said in ("certificate.kind", "info.status", "info.route", "is_proved", "outcome"):
        try:
            before = attrgetter(said)(expected)
        except AttributeError:
            continue
        assert attrgetter(said)(found) == before, said


@pytest.mark.parametrize("form", FORMS)
@every
def test_sparse_is_dense(contract, form):
    A = spotted()
    assert_same(contract, contract.run(FORMS[form](A)), contract.run(dense(A, form)))


@every
def test_threads_do_not_change_a_bit(contract):
    source, found = stored_rows(spotted()), []
    for workers in (1, 2, 3):
        with dask.config.set(num_workers=workers):
            found.append(contract.bits(contract.run(source)))
    assert found[1] == found[0]
    assert found[2] == found[0]


@pytest.mark.parametrize("contract", law("scheduler"))
def test_a_cluster_does_not_change_a_bit(contract, workers):
    source = stored_rows(spotted())
    here = contract.bits(contract.run(source))
    with distributed.Client(workers):
        assert contract.bits(contract.run(source)) == here


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("contract", law("mask"))
def test_a_mask_leaves_columns_out(contract, form):
    A = spotted()
    found = contract.run(FORMS[form](A), mask=KEPT)
    assert_same(contract, found, contract.run(dense(A, form), mask=KEPT))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("contract", law("nonfinite"))
def test_missing_values_among_what_is_stored(contract, form):
    A = spotted()
    A[[7, 3001, 0, M - 1], [1, 1, 4, 6]] = np.nan
    for policy in contract.policies:
        found = contract.run(FORMS[form](A), nonfinite=policy)
        expected = contract.run(dense(A, form), nonfinite=policy)
        assert_same(contract, found, expected)
    with pytest.raises(
        NonFiniteError, match=r"NaN at row (7, column 1|3001, column 1|0, column 4|5999, column 6)"
    ):
        contract.run(FORMS[form](A))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("contract", law("memory"))
def test_the_least_memory_is_named_and_works(contract, form):
    A = spotted()
    with pytest.raises(BudgetError) as refused:
        contract.run(FORMS[form](A), memory=1000)
    least = refused.value.needs
    assert least >= streamsvd.open(FORMS[form](A)).read_bytes
    with pytest.raises(BudgetError):
        contract.run(FORMS[form](A), memory=least - 1)
    found = contract.run(FORMS[form](A), memory=least)
    if contract.can("record"):
        assert found.info.projected_bytes <= least
    assert_same(contract, found, contract.run(dense(A, form)), 10 * contract.rtol)
