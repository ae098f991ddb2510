"""Pipelines of a sparse source: every kind of step takes it, shares a read of it, and sees when it changes."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from tests.pipelines.kit import made, place_of, run_text, statuses

M, N = 3000, 400
STEPS = {
    "plain": "svd = {source = 'a', rank = 3, tol = 1e-3}",
    "centred": "pca = {source = 'a', rank = 3, tol = 1e-3}",
    "model": "update = {source = 'a', model = 'M', rank = 3}",
    "proof": "verify = {source = 'a', result = 'plain'}",
    "top": "top_eigenvectors = {source = 'a', k = 2}",
    "rows": "sample_rows = {source = 'a', size = 20}",
    "fit": "lstsq = {source = 'a', b = 'y.npy', ridge = 1e-3}",
    "map": "nystrom = {source = 'a', n_centres = 10}",
    "ridge": "kernel_ridge = {source = 'a', y = 'y.npy', n_centres = 10}",
}


def text(*names, share=None):
    """A pipeline of these steps."""
    source = "[sources.a]\npath = 'A.zarr'\n"
    if share is not None:
        source += f"share = {str(share).lower()}\n"
    return source + "".join(f"[[steps]]\nname = '{name}'\n{STEPS[name]}\n" for name in names)


def counts():
    rng = np.random.default_rng(0)
    share = sparse.csr_array(rng.random((M, 5)) * 2.0 ** -np.arange(5))
    S = sparse.csr_array(share @ sparse.random_array((5, N), density=0.01, rng=rng))
    return sparse.csr_array(S + 0.01 * sparse.random_array((M, N), density=0.01, rng=rng))


@pytest.fixture
def folder(tmp_path):
    """A sparse matrix as AnnData stores it, and targets."""
    S = counts()
    group = zarr.open_group(tmp_path / "A.zarr", mode="w")
    group.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [M, N]}
    )
    for name in ("data", "indices", "indptr"):
        group.create_array(name, data=getattr(S, name), chunks=(5000,))
    np.save(tmp_path / "y.npy", np.asarray(S.sum(axis=1)))
    return tmp_path


def test_every_step_takes_it_once(folder):
    first = run_text(folder, text(*STEPS))
    assert first.status == "done", first.error
    assert set(statuses(first).values()) == {"done"}
    s = np.linalg.svd(counts().toarray(), compute_uv=False)[:3]
    np.testing.assert_allclose(streamsvd.load(place_of(first, "plain")).s, s, rtol=1e-3)
    assert streamsvd.load(place_of(first, "proof")).agrees
    assert made(run_text(folder, text(*STEPS))) == []


def test_an_entry_that_changes_makes_all_steps_again(folder):
    names = ("plain", "rows")
    run_text(folder, text(*names))
    values = zarr.open_group(folder / "A.zarr", mode="r+")["data"]
    values[17] = 3.5
    assert made(run_text(folder, text(*names))) == list(names)


def test_steps_that_share_a_read_find_what_they_find_alone(folder):
    names = ("plain", "centred", "top", "rows")
    together = run_text(folder, text(*names, share=True))
    assert together.status == "done", together.error
    assert together.reads[0].steps == names
    found = {name: streamsvd.load(place_of(together, name)) for name in names}
    (folder / "alone").mkdir()
    for name in ("A.zarr", "y.npy"):
        (folder / "alone" / name).symlink_to(folder / name)
    alone = run_text(folder / "alone", text(*names, share=False))
    expected = {name: streamsvd.load(place_of(alone, name)) for name in names}
    for name in ("plain", "centred"):
        assert found[name].s.tobytes() == expected[name].s.tobytes()
        assert found[name].Vh.tobytes() == expected[name].Vh.tobytes()
    assert found["top"].components.tobytes() == expected["top"].components.tobytes()
    assert found["rows"].rows.tobytes() == expected["rows"].rows.tobytes()
