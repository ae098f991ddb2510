"""No verb replaces what it reads, by whatever way the place is named."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.store.apart import places
from streamsvd.testing.stores import CountingStore

A = np.random.default_rng(0).standard_normal((40, 4))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A matrix of every kind, and links to it."""
    monkeypatch.chdir(tmp_path)
    zarr.create_array("a.zarr", data=A, chunks=(10, 4))
    zarr.create_group("g.zarr").create_array("inner", data=A, chunks=(10, 4))
    np.save("a.npy", A)
    (tmp_path / "link").symlink_to("a.zarr")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "up").symlink_to(tmp_path)
    return tmp_path


SAME = ["a.zarr", "link", "deep/up/a.zarr", "./deep/../a.zarr", "a.zarr/inside", "link/c/inside"]
VERBS = {
    "shuffle": lambda A, out: streamsvd.shuffle(A, out, overwrite=True),
    "svd": lambda A, out: streamsvd.svd(A, 2, out=out, overwrite=True),
    "predict": lambda A, out: streamsvd.kernel_ridge(
        np.eye(9, 4), np.ones(9), n_centres=3
    ).predict_to(A, out, overwrite=True),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("out", SAME)
def test_a_source_is_never_replaced(here, verb, out):
    sources = {
        "path": "a.zarr",
        "link": "link",
        "array": zarr.open_array("a.zarr", mode="r"),
        "store": CountingStore(zarr.storage.LocalStore("a.zarr", read_only=True)),
        "dask": da.from_zarr("a.zarr") * 2,
        "absolute": here / "a.zarr",
    }
    for source in sources.values():
        with pytest.raises(SpecError, match="are the same, or lie in one another"):
            VERBS[verb](source, out)
    np.testing.assert_array_equal(zarr.open_array("a.zarr", mode="r")[...], A)


def test_a_place_that_holds_the_source_is_refused(here):
    with pytest.raises(SpecError, match="lie in one another"):
        streamsvd.shuffle(streamsvd.open("g.zarr", variable="inner"), "g.zarr", overwrite=True)
    streamsvd.svd(A, 2, out="result", u=True)
    with pytest.raises(SpecError, match="lie in one another"):
        streamsvd.svd("result/U", 1, out="result", overwrite=True)
    assert streamsvd.load("result").rank == 2


def test_what_is_read_of_a_file_is_known_by_it(here):
    for given in (
        "a.npy",
        np.load("a.npy", mmap_mode="r"),
        np.load("a.npy", mmap_mode="r")[3:, ::2],
    ):
        assert [p.resolve() for p in places(streamsvd.open(given))] == [here / "a.npy"]
    assert list(places(streamsvd.open(A))) == []


def test_places_beside_a_source_are_free(here):
    source = streamsvd.open("g.zarr", variable="inner")
    assert streamsvd.shuffle(source, "g.zarr/other").name == "other"
    assert streamsvd.shuffle("a.zarr", "a.zarr2").exists()
