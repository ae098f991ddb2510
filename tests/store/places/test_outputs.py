"""What every verb writes to an object store is what it writes to a folder, also where one request in three fails or its answer is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster
from scipy import sparse

import streamsvd
from streamsvd.checks.paths import PathOrUrl, place_of
from streamsvd.conversion import sparse_planning, sparse_writing
from streamsvd.report import write_report
from streamsvd.store.places import location_of
from tests.object_store.proxy import FlakyProxy

RNG = np.random.default_rng(3)
A = (RNG.standard_normal((2400, 12)) * np.linspace(5, 0.1, 12)).astype("f4")
A[600:700] = 0
FIT = streamsvd.kernel_ridge(A, A[:, 0], n_centres=20, length=3.0, ridge=1e-2, solver="direct")
FOUND = streamsvd.svd(A, 4, u=True)

WRITERS: dict[str, Callable[[Any], Any]] = {
    "svd with U": lambda out: streamsvd.svd(A, 4, u=True, memory="150MiB", out=out),
    "shuffle": lambda out: streamsvd.shuffle(A, out),
    "project": lambda out: FOUND.transform(A, out=out),
    "reconstruct": lambda out: FOUND.reconstruct(out=out),
    "predict": lambda out: FIT.predict_to(A, out),
    "convert": lambda out: streamsvd.convert(A, out, chunk="16KiB"),
    "convert sparse": lambda out: streamsvd.convert(sparse.csc_array(A), out, chunk="64KiB"),
}


def objects(place: PathOrUrl) -> dict[str, bytes]:
    """All that is there, but for the record of a run, which says how long it took."""
    here = location_of(place)
    found = {key: here.read(key) for key in here.keys("")}
    root = found.pop("zarr.json")
    return found if b'"streamsvd"' in root else found | {"zarr.json": root}


OFTEN = ("svd with U", "shuffle", "predict", "convert sparse")


@pytest.mark.parametrize(
    "verb", [pytest.param(v, marks=() if v in OFTEN else pytest.mark.slow) for v in WRITERS]
)
def test_objects_are_those_of_a_folder_whatever_fails(
    verb: str, bucket: str, flaky: FlakyProxy, tmp_path: Path
) -> None:
    url = place_of(f"{bucket}/R.zarr")
    WRITERS[verb](tmp_path / "R.zarr")
    flaky.add("lose", verb="PUT", every=3)
    flaky.answer(503, verb="PUT", every=4)
    flaky.answer(500, verb="GET", every=5)
    flaky.add("reset", verb="POST", times=1)
    WRITERS[verb](str(url))
    assert flaky.count("PUT") > 8
    flaky.clear()
    far, near = objects(url), objects(tmp_path / "R.zarr")
    assert far.keys() == near.keys()
    assert far == near
    assert location_of(url.parent).names() == ["R.zarr"]  # nothing is left beside it


def test_workers_write_whole_chunks_to_the_store(bucket: str, tmp_path: Path) -> None:
    near = streamsvd.svd(A, 4, u=True, memory="150MiB", out=tmp_path / "R.zarr")
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
    ):  # fmt: skip
        far = streamsvd.svd(A, 4, u=True, memory="150MiB", out=f"{bucket}/R.zarr")
        moved = FOUND.transform(A, out=f"{bucket}/P.zarr")
    np.testing.assert_array_equal(far.U[...], near.U[...])
    assert objects(place_of(f"{bucket}/R.zarr")) == objects(tmp_path / "R.zarr")
    np.testing.assert_array_equal(moved[...], FOUND.transform(A))


@pytest.mark.slow
def test_workers_in_processes_of_their_own_write_there(bucket: str, tmp_path: Path) -> None:
    near = streamsvd.svd(A, 4, u=True, memory="150MiB", out=tmp_path / "R.zarr")
    root = str(Path(streamsvd.__file__).parents[1])
    env = {k: v for k, v in os.environ.items() if k.startswith("AWS_")} | {"PYTHONPATH": root}
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", env=env) as cluster,
        Client(cluster),
    ):
        far = streamsvd.svd(A, 4, u=True, memory="150MiB", out=f"{bucket}/R.zarr")
    np.testing.assert_array_equal(far.U[...], near.U[...])


@pytest.mark.parametrize(
    "kind", ["kernel_ridge", *(pytest.param(k, marks=pytest.mark.slow) for k in ("nystrom", "lstsq", "rotate", "sample_rows"))]
)  # fmt: skip
def test_results_that_are_saved_there_are_loaded(kind: str, bucket: str, tmp_path: Path) -> None:
    result = {
        "nystrom": lambda: streamsvd.nystrom(A, n_centres=10, length=3.0),
        "lstsq": lambda: streamsvd.lstsq(A[:600], A[:600, 0] + 1),
        "rotate": lambda: streamsvd.rotate(FOUND, 3),
        "sample_rows": lambda: streamsvd.sample_rows(A, size=40),
        "kernel_ridge": lambda: FIT,
    }[kind]()
    assert str(result.save(f"{bucket}/kept")) == f"{bucket}/kept"
    result.save(tmp_path / "kept")
    again = streamsvd.load(f"{bucket}/kept")
    assert type(again) is type(result)
    assert objects(place_of(f"{bucket}/kept")) == objects(tmp_path / "kept")
    with pytest.raises(streamsvd.StoreError, match=r"kept exists already. Pass overwrite=True"):
        result.save(f"{bucket}/kept")
    with pytest.raises(streamsvd.StoreError, match=r"lies in s3://.*/kept, which is a result"):
        result.save(f"{bucket}/kept/within")
    location_of(place_of(bucket + "/kept")).write("notes.txt", b"of a person")
    with pytest.raises(
        streamsvd.StoreError, match=r"holds notes.txt, which is no part of a result"
    ):
        result.save(f"{bucket}/kept", overwrite=True)
    location_of(place_of(bucket + "/kept")).remove("notes.txt")
    result.save(f"{bucket}/kept", overwrite=True)


def test_what_is_handed_back_is_taken_again(bucket: str) -> None:
    place = streamsvd.shuffle(A, f"{bucket}/S.zarr")
    assert str(place) == f"{bucket}/S.zarr"
    found = streamsvd.pca(place, 2, u=True, out=f"{bucket}/R.zarr")
    copied = found.save(place.with_name("copy"))
    np.testing.assert_array_equal(streamsvd.load(copied).U[...], found.U[...])
    assert str(write_report(copied, place.with_name("r.html")).path) == f"{bucket}/r.html"


def test_what_is_read_is_not_written_over(bucket: str) -> None:
    streamsvd.convert(A, f"{bucket}/A.zarr")
    found = streamsvd.svd(A, 2, u=True, out=f"{bucket}/R.zarr")
    for call in (
        lambda: streamsvd.svd(f"{bucket}/A.zarr", 2, out=f"{bucket}/A.zarr", overwrite=True),
        lambda: streamsvd.shuffle(f"{bucket}/A.zarr", f"{bucket}/A.zarr/within"),
        lambda: found.save(f"{bucket}/R.zarr", overwrite=True),
    ):
        with pytest.raises(
            streamsvd.SpecError, match=r"'s3://.* are the same, or lie in one another"
        ):
            call()


def test_a_conversion_goes_on_where_it_was_stopped(bucket: str, flaky: FlakyProxy) -> None:
    url = f"{bucket}/C.zarr"
    flaky.answer(403, verb="PUT", key=r"content/c/5/0")
    with pytest.raises(streamsvd.StoreError, match=r"cannot write '.*c/5/0'"):
        streamsvd.convert(A, url, chunk="8KiB", memory="150MiB")
    flaky.clear()
    assert not location_of(place_of(url)).exists()
    made = streamsvd.convert(A, url, chunk="8KiB", memory="150MiB")
    assert made.continued_rows > 0
    rows = zarr.open_array(location_of(place_of(url)).store(read_only=True), mode="r")
    np.testing.assert_array_equal(rows[...], A)
    assert location_of(place_of(url).parent).names() == ["C.zarr"]


def test_a_sparse_conversion_goes_on_in_the_store(
    bucket: str, flaky: FlakyProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_writing, "SAVED_ENTRIES", 5000)
    monkeypatch.setattr(sparse_planning, "MOST_PIECE", 1 << 12)
    monkeypatch.setattr(sparse_planning, "LEAST_PIECE", 1 << 12)
    url, B = f"{bucket}/C.zarr", sparse.csr_array(A)
    flaky.answer(403, verb="PUT", key=r"content/data/c/5")
    with pytest.raises(streamsvd.StoreError, match=r"cannot write '.*data/c/5'"):
        streamsvd.convert(B, url, chunk="64KiB")
    flaky.clear()
    assert not location_of(place_of(url)).exists()
    assert streamsvd.convert(B, url, chunk="64KiB").continued_rows > 0
    streamsvd.convert(B, tmp_path / "C.zarr", chunk="64KiB")
    assert objects(place_of(url)) == objects(tmp_path / "C.zarr")
    assert location_of(place_of(url).parent).names() == ["C.zarr"]


def test_a_sparse_matrix_in_another_order_that_does_not_fit_is_refused(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_planning, "LEAST_SORTED", 1)
    B = sparse.random_array((30_000, 400), density=0.2, format="csc", rng=0)
    with pytest.raises(streamsvd.SpecError, match="goes by files beside the place"):
        streamsvd.convert(B, f"{bucket}/C.zarr", memory="120MiB")
    assert not location_of(place_of(f"{bucket}/C.zarr")).exists()
