"""Stores of zarr that others make: versions of icechunk, and references of kerchunk to chunks in other files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import MissingChunkError
from streamsvd.store.sources import open_source
from streamsvd.testing import assert_source

A = np.arange(40 * 6.0).reshape(40, 6)


def test_a_session_of_icechunk_is_a_source(tmp_path):
    icechunk = pytest.importorskip("icechunk")
    repo = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "ice")))
    session = repo.writable_session("main")
    group = zarr.group(session.store)
    made = group.create_array(
        "air", shape=A.shape, chunks=(7, 6), dtype="f8", dimension_names=("t", "x")
    )
    made[...] = A
    session.commit("A")
    store = repo.readonly_session("main").store
    assert_source(open_source(store), A)
    assert_source(open_source(store, "air", "x"), A.T)
    np.testing.assert_allclose(
        streamsvd.svd(store, 2).s, np.linalg.svd(A, compute_uv=False)[:2], rtol=1e-3
    )


def references(tmp_path, lacking=()):
    """Chunks of seven rows that lie in a file of another kind, as kerchunk writes them."""
    path = tmp_path / "a.dat"
    path.write_bytes(b"head" + A.tobytes())
    told = {
        ".zgroup": json.dumps({"zarr_format": 2}),
        "air/.zarray": json.dumps(
            {
                "zarr_format": 2, "shape": [42, 6], "chunks": [7, 6], "dtype": "<f8", "order": "C", "compressor": None,
                "filters": None, "fill_value": None,
            }
        ),
        "air/.zattrs": json.dumps({"_ARRAY_DIMENSIONS": ["t", "x"]}),
    }  # fmt: skip
    for i in range(6):
        if i not in lacking:
            told[f"air/{i}.0"] = (
                [str(path), 4 + 7 * 48 * i, 7 * 48] if i < 5 else "base64:" + _coded()
            )
    return {"version": 1, "refs": told}


def _coded():
    import base64

    return base64.b64encode(np.vstack([A[35:], np.zeros((2, 6))]).tobytes()).decode()


@pytest.mark.parametrize("lacking", [(), (3,)])
def test_references_of_kerchunk_are_a_source(tmp_path, lacking):
    fsspec = pytest.importorskip("fsspec")
    from zarr.storage import FsspecStore

    fs = fsspec.filesystem("reference", fo=references(tmp_path, lacking), asynchronous=True)
    source = open_source(FsspecStore(fs, read_only=True, path=""), "air", "t")
    wanted = np.vstack([A, np.zeros((2, 6))])
    if lacking:
        with pytest.raises(MissingChunkError, match=r"air/3\.0"):
            source.read(slice(0, 42), slice(0, 6), np.empty((42, 6)))
        return
    assert_source(source, wanted)
    assert source.layout.names == ("t", "x")
