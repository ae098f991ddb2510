"""Models of sparse matrices: rows are absorbed as they are stored, and the model is that of the same rows with their zeros."""

from __future__ import annotations

import dask
import distributed
import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd.models.mathematics.incremental import IncrementalSVD

M, N = 700, 1500
OPTIONS = {"rank": 6, "buffer": 14}


def counts(m=M, seed=0):
    """Few patterns, and noise beneath them."""
    rng = np.random.default_rng(seed)
    patterns = sparse.random_array((6, N), density=0.008, rng=np.random.default_rng(99))
    share = sparse.csr_array(rng.random((m, 6)) * 2.0 ** -np.arange(6))
    noise = sparse.random_array((m, N), density=0.002, rng=rng)
    return sparse.csr_array(share @ patterns + 1e-4 * noise)


def store(path, rows):
    """As AnnData stores it, with names of its rows and columns."""
    group = zarr.open_group(path, mode="a")
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    if "X" in group:
        del group["X"]
    place = group.create_group("X")
    place.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": list(rows.shape)}
    )
    for name in ("data", "indices", "indptr"):
        place.create_array(name, data=getattr(rows, name), chunks=(2000,))
    return path


@pytest.fixture
def sparse_parts(monkeypatch):
    """How many pieces stayed sparse."""
    seen = []
    whole = IncrementalSVD.sparse_part

    def look(self, block):
        found = whole(self, block)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(IncrementalSVD, "sparse_part", look)
    return seen


@pytest.mark.parametrize(
    "further",
    [{}, {"center": True}, {"u": True}, {"center": True, "u": True, "forget": 0.9}],
    ids=str,
)
def test_a_model_of_sparse_rows_is_that_of_dense_ones(further, tmp_path, sparse_parts):
    found = streamsvd.Model.create(tmp_path / "sparse.model", **OPTIONS, **further)
    expected = streamsvd.Model.create(tmp_path / "dense.model", **OPTIONS, **further)
    blocks = [counts(300), counts(400, seed=1), counts(5, seed=2)]
    for i, block in enumerate(blocks):
        found.update(block, f"b{i}")
        expected.update(block.toarray(), f"b{i}")
    assert sparse_parts == [True, True, True]  # and none of the dense ones was asked
    np.testing.assert_allclose(found.s, expected.s, rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(found.Vh * expected.Vh, axis=1)), 1, atol=1e-5)
    assert found.certificate.kind == expected.certificate.kind
    assert found.certificate.frobenius_error == pytest.approx(
        expected.certificate.frobenius_error, rel=1e-2
    )
    if further.get("u"):
        A = sparse.vstack(blocks).toarray()
        fades = np.repeat(further.get("forget", 1.0) ** np.arange(2, -1, -1), [300, 400, 5])
        if further.get("center"):
            A = A - (fades**2 @ A) / np.sum(fades**2)
        U = np.asarray(found.U[:])
        np.testing.assert_allclose(U.T @ U, np.eye(6), atol=1e-9)
        left = np.linalg.norm(fades[:, None] * A - (U * found.s) @ found.Vh)
        assert left <= found.certificate.frobenius_error * (1 + 1e-9)


def test_a_block_of_sparse_rows_is_known_again_with_its_zeros(tmp_path):
    path = tmp_path / "A.model"
    streamsvd.update(path, counts(), "first", **OPTIONS)
    for again in (counts(), counts().toarray(), counts().tocsc()):
        assert streamsvd.update(path, again, "first").skip_reason == "known"


def test_a_sparse_matrix_that_grows_is_absorbed_as_it_grows(tmp_path, sparse_parts):
    rows = counts(900)
    path = store(tmp_path / "A.zarr", sparse.csr_array(rows[:500]))
    first = streamsvd.update(tmp_path / "A.model", path, **OPTIONS)
    store(path, rows)
    second = streamsvd.update(tmp_path / "A.model", path)
    assert (first.n_absorbed, second.n_absorbed) == (500, 400)
    assert all(sparse_parts)
    assert streamsvd.update(tmp_path / "A.model", path).skip_reason == "nothing new"
    model = streamsvd.Model.open(tmp_path / "A.model")
    s = np.linalg.svd(rows.toarray(), compute_uv=False)[:6]
    assert (model.certificate.sigma_lower <= s * (1 + 1e-12)).all()
    assert (s <= model.certificate.sigma_upper * (1 + 1e-12)).all()
    assert streamsvd.verify(tmp_path / "A.model", path).agrees


def test_bits_do_not_depend_on_who_makes_the_parts(tmp_path):
    path = store(tmp_path / "A.zarr", counts())

    def bits(name):
        streamsvd.update(tmp_path / name, path, center=True, **OPTIONS)
        model = streamsvd.Model.open(tmp_path / name)
        return model.s.tobytes() + model.Vh.tobytes()

    found = []
    for threads in (1, 2, 3):
        with dask.config.set(num_workers=threads):
            found.append(bits(f"{threads}.model"))
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as machine,
        distributed.Client(machine),
    ):
        found.append(bits("cluster.model"))
    assert len(set(found)) == 1


def test_a_window_and_a_mask_take_sparse_rows_too(tmp_path):
    model = streamsvd.Model.create(tmp_path / "A.model", window=200, **OPTIONS)
    for i in range(4):
        model.update(counts(100, seed=i), f"b{i}")
    kept = sparse.vstack([counts(100, seed=i) for i in (2, 3)]).toarray()
    s = np.linalg.svd(kept, compute_uv=False)[:6]
    assert (model.certificate.sigma_lower <= s * (1 + 1e-12)).all()
    assert (s <= model.certificate.sigma_upper * (1 + 1e-12)).all()
    mask = np.arange(N) % 2 == 0
    streamsvd.update(tmp_path / "B.model", counts(), "first", mask=mask, **OPTIONS)
    half = np.linalg.svd(counts().toarray()[:, mask], compute_uv=False)[:6]
    np.testing.assert_allclose(streamsvd.Model.open(tmp_path / "B.model").s, half, rtol=1e-3)
