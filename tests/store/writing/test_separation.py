"""No verb replaces what it reads, by whatever way the place is named."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.store.collections import open_collection
from streamsvd.store.writing.separation import places
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
    "convert": lambda A, out: streamsvd.convert(A, out, overwrite=True),
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


CALLS = {
    "update": lambda A, place: streamsvd.update(place, A, rank=2),
    "top": lambda A, place: streamsvd.top_eigenvectors(A, checkpoint=place),
    "nystrom": lambda A, place: streamsvd.nystrom(A, n_centres=5, checkpoint=place),
    "krr": lambda A, place: streamsvd.kernel_ridge(A, np.ones(40), n_centres=5, checkpoint=place),
    "compress": lambda A, place: streamsvd.compress({"a": A}, place),
    "append": lambda A, place: streamsvd.compress({"a": A}, place, append=True),
    "inputs": lambda A, place: streamsvd.compress({"a": np.eye(4)}, place, inputs=A),
}


@pytest.mark.parametrize("verb", CALLS)
def test_nothing_else_is_written_into_what_is_read(here, verb):
    if verb == "append":
        streamsvd.compress({"x": np.ones((40, 4))}, "a.zarr/m")
    kept = sorted(here.rglob("a.zarr/c/**"))
    sources = ["a.zarr", zarr.open_array("a.zarr", mode="r"), da.from_zarr("a.zarr")]
    once = 1 if verb in ("compress", "append") else 0  # a text is no array of a mapping
    for source in sources[once:]:
        with pytest.raises(SpecError, match="lie in one another"):
            CALLS[verb](source, "a.zarr/m")
    assert sorted(here.rglob("a.zarr/c/**")) == kept


def test_arrays_beside_the_matrix_are_read_too(here):
    np.save("w.npy", np.ones(40))
    w = np.load("w.npy", mmap_mode="r")
    with pytest.raises(SpecError, match="'w.npy'"):
        streamsvd.svd("a.npy", 1, row_weights=w, out="w.npy", overwrite=True)
    group = zarr.open_group("g.zarr")
    group.create_array("keep", data=np.ones(4, bool))
    source = streamsvd.open("g.zarr", variable="inner")
    with pytest.raises(SpecError, match="keep"):
        streamsvd.svd(source, 1, mask="keep", out="g.zarr/keep", overwrite=True)
    assert group["keep"][...].all()


def test_a_collection_of_many_files_is_one_place(here):
    (here / "many").mkdir()
    for i in range(20):
        np.save(f"many/{i}.npy", A)
    found = open_collection("many")
    assert [str(p) for p in places(found)] == ["many"]
    assert [str(p) for p in places(zarr.open_group("g.zarr"))] == ["g.zarr"]
