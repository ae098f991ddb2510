"""Compressed collections in an object store, written and read by the workers of a cluster."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client, LocalCluster

import streamsvd
from streamsvd.store.objects import objects_at

BLOCKS = {
    f"x{i}": np.tile(np.random.default_rng(i % 3).standard_normal((12, 900)), 30) * (1 + i / 9)
    for i in range(6)
}
ADDED = {"y0": BLOCKS["x0"] * 2, "y1": np.random.default_rng(9).standard_normal((12, 5))}


def archive(place):
    """A collection with residuals, and an addition to it."""
    streamsvd.compress(BLOCKS, place, 0.02, principal=0.3)
    streamsvd.compress(ADDED, place, append=True)
    return streamsvd.open_compressed(place)


@pytest.fixture
def workers():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        yield


def bits(arrays):
    return {name: np.ascontiguousarray(A).tobytes() for name, A in arrays}


def test_tasks_write_what_threads_write(bucket, tmp_path, workers):
    there = archive(f"{bucket}/packed")
    streamsvd.decompress(f"{bucket}/packed", f"{bucket}/plain.zarr")
    here = archive(tmp_path / "packed")
    assert bits(there.items()) == bits(here.items())
    assert there.bytes_after == here.bytes_after
    plain = streamsvd.open_collection(f"{bucket}/plain.zarr")
    read = [(m.name, A) for part in plain.parts for m, A in plain.matrices(part)]
    assert bits(read) == bits(here.items())
    keys = objects_at(f"{bucket}/packed").keys("versions")
    lists = {key for key in keys if key.endswith("manifest.json")}
    assert len(lists) == 2
    assert set(keys) == lists | set(there._contents.files)  # and nothing that nobody took
