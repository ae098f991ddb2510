"""A matrix of which only some entries are stored gives what the same matrix gives with its zeros, whatever stores it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from operator import attrgetter

import dask
import distributed
import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
import streamsvd.kernels.nystrom
import streamsvd.kernels.ridge
from streamsvd import BudgetError, NonFiniteError, NotConverged, SpecError
from streamsvd.engine import layout
from streamsvd.store.sources import border
from streamsvd.store.sources.sparse import compressed
from tests.contracts.verbs import MATRIX, M, N, matrix, new_place, target, where
from tests.matrices import Rows

SAME = 1e-12
COLUMNS = np.arange(N) % 3 != 2


def law(*capabilities):
    """Contracts of verbs that read any matrix; what `convert` writes of sparse ones, counts and graphs have tests of their own."""
    found = [p for p in where("sparse", *capabilities) if p.values[0].kind is MATRIX]
    return [p for p in found if p.values[0].name != "convert"]


MULTIPLY = ("svd krylov", "pca krylov", "verify", "project", "reconstruct")
"""Contracts whose passes multiply what is stored, where it is little."""

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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("contract", [p for p in law() if p.values[0].label in MULTIPLY])
def test_products_of_what_is_stored_are_those_of_dense_rows(contract, form, monkeypatch):
    """Of a matrix that is taken for one of few entries, by whatever verb multiplies them."""
    A = spotted()
    expected = contract.run(dense(A, form))
    monkeypatch.setattr(layout, "SPARSE_DENSITY", 2.0)
    monkeypatch.setattr(layout, "SPARSE_DENSITY_DOUBLE", 2.0)
    assert_same(contract, contract.run(FORMS[form](A)), expected, 10 * contract.rtol)


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
    found = contract.run(FORMS[form](A), mask=COLUMNS)
    assert_same(contract, found, contract.run(dense(A, form), mask=COLUMNS))


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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("contract", law("device"))
def test_a_device_is_given_blocks_with_their_zeros(contract, form, monkeypatch):
    """However few entries are stored: it finds what the host finds of the dense matrix."""
    A = spotted()
    monkeypatch.setattr(layout, "SPARSE_DENSITY", 2.0)
    monkeypatch.setattr(layout, "SPARSE_DENSITY_DOUBLE", 2.0)
    found = contract.run(FORMS[form](A), device="strict")
    contract.assert_close(found, contract.run(dense(A, form)))


@pytest.mark.parametrize("form", FORMS)
def test_a_kernel_that_needs_every_column_is_refused(form):
    A = FORMS[form](spotted())
    words = (
        r'kernel="laplacian" needs \|x - y\| in every one of the [68] columns.*Pass kernel="rbf"'
    )
    for verb in (streamsvd.nystrom, streamsvd.kernels.nystrom.plan_nystrom):
        with pytest.raises(SpecError, match=words):
            verb(A, "laplacian")
        with pytest.raises(SpecError, match=words):
            verb(A, "laplacian", mask=COLUMNS)
    for verb in (streamsvd.kernel_ridge, streamsvd.kernels.ridge.plan_kernel_ridge):
        with pytest.raises(SpecError, match=words):
            verb(A, target(A), "laplacian", ridge=1.0)
    made = streamsvd.nystrom(dense(spotted()), "laplacian", n_centres=5)
    with pytest.raises(SpecError, match=words):
        made.update(A)


@pytest.mark.parametrize("kernel", ["linear", "cosine", "polynomial", "rbf", "matern"])
@pytest.mark.parametrize("form", FORMS)
def test_every_kernel_of_products_and_norms_is_that_of_dense_rows(kernel, form):
    A = spotted()
    asked = {"n_centres": 10, "length": 3.0, "ridge": 0.1}
    found = streamsvd.kernel_ridge(FORMS[form](A), target(A), kernel, **asked)
    expected = streamsvd.kernel_ridge(dense(A, form), target(A), kernel, **asked)
    np.testing.assert_allclose(
        found.predict(A[:50]), expected.predict(A[:50]), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_array_equal(found.feature_map.centres, expected.feature_map.centres)


@pytest.mark.parametrize("verb", ["cluster", "compress", "rate_curve"])
def test_members_of_collections_are_not_sparse(verb):
    rows = sparse.csr_array(spotted()[:200])
    group = zarr.create_group(new_place())
    group.create_array("dense", data=np.ones((200, 3)))
    place = group.create_group("counts")
    place.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [200, N]}
    )
    for name in ("data", "indices", "indptr"):
        place.create_array(name, data=getattr(rows, name))
    call = partial(
        getattr(streamsvd, verb), **({"errors": (0.1,)} if verb == "rate_curve" else {"error": 0.1})
    )
    further = (new_place(),) if verb == "compress" else ()
    words = r"sparse.*stored as dense factors and residuals.*[Ff]actorise it by itself, with svd"
    for members in ({"counts": rows}, {"counts": streamsvd.open(rows)}, rows, group):
        with pytest.raises(SpecError, match=words):
            call(members, *further)
    assert streamsvd.open_collection(group, select="dense").rows == 200


@pytest.mark.parametrize("verb", ["top_eigenvectors", "lstsq", "nystrom", "sample_rows"])
def test_columns_are_not_read_again_for_every_few_rows(verb):
    """A pass over rows of CSC reads it 8 times at most; the memory for so many rows is named."""
    A = sparse.random_array((20_000, 400), density=0.01, rng=np.random.default_rng(0), format="csc")
    call = partial(getattr(streamsvd, verb))
    inputs = {"lstsq": (A, np.ones(20_000)), "sample_rows": (A, 500)}.get(verb, (A,))
    with pytest.raises(
        BudgetError, match=r"by columns \(CSC\).*no fewer than 2,500 rows are read at once"
    ) as refused:
        call(*inputs, memory=1000)
    assert refused.value.needs > 2500 * 400 * 8
    assert (
        streamsvd.plan(verb, *inputs, memory=refused.value.needs).pass_bytes <= 8 * 20_000 * 400 * 8
    )


def test_blocks_of_a_stream_may_be_sparse():
    A = spotted()
    blocks = [A[a : a + 700] for a in range(0, M, 700)]
    found = streamsvd.top_eigenvectors([sparse.csr_array(b) for b in blocks], 2, passes=2)
    expected = streamsvd.top_eigenvectors(blocks, 2, passes=2)
    np.testing.assert_array_equal(found.components, expected.components)


TALL = {
    "svd krylov": partial(streamsvd.svd, rank=3, route="krylov", max_passes=3, target="error"),
    "svd gram": partial(streamsvd.svd, rank=3, route="gram"),
    "pca with U": partial(streamsvd.pca, rank=3, u=True, route="gram"),
    "top_eigenvectors": partial(streamsvd.top_eigenvectors, k=2),
    "lstsq": lambda A, **o: streamsvd.lstsq(A, np.ones(A.shape[0]), **o),
    "sample_rows": partial(streamsvd.sample_rows, size=40),
    "nystrom": partial(streamsvd.nystrom, n_centres=10, length=3.0),
    "transform": lambda A, **o: streamsvd.svd(A, 2, route="gram", **o).transform(A, **o),
}


@pytest.mark.parametrize("verb", TALL)
def test_no_more_than_a_block_is_made_dense(verb, monkeypatch):
    """A twentieth of the matrix at a time, of scipy as of us, whatever the verb."""
    A = sparse.random_array((30_000, 120), density=0.01, rng=np.random.default_rng(0), format="csr")
    shown, whole = [], sparse.csr_array.toarray

    def counted(rows, *args, **options):
        shown.append(rows.shape[0])
        return whole(rows, *args, **options)

    monkeypatch.setattr(sparse.csr_array, "toarray", counted)
    monkeypatch.setattr(compressed, "PIECE_ENTRIES", 1000)
    with suppress(NotConverged):
        TALL[verb](A, memory="96MiB")
    assert max(shown, default=0) <= 1500
    assert shown or verb == "svd krylov"
