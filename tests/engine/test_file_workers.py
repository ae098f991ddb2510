"""Workers of a cluster read files and objects of xarray by themselves, and find what threads find."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.schedulers import use_scheduler

distributed = pytest.importorskip("distributed")
xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

CUBE = np.random.default_rng(0).standard_normal((60, 5, 6))


@pytest.mark.slow
def test_workers_find_the_bits_that_threads_find(tmp_path):
    made = xr.Dataset(
        {
            "air": (("time", "lat", "lon"), CUBE),
            "land": (("lat", "lon"), np.arange(30).reshape(5, 6) % 3 > 0),
        }
    )
    packed = {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -999, "zlib": True}
    made.to_netcdf(tmp_path / "a.nc", engine="h5netcdf", encoding={"air": packed})
    made.to_netcdf(tmp_path / "b.nc", engine="scipy", encoding={"air": {"_FillValue": None}})
    np.savez(tmp_path / "c.npz", x=CUBE.reshape(60, 30))
    lazy = xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf")
    sources = [
        streamsvd.open(tmp_path / "a.nc", "air", "time"),
        streamsvd.open(tmp_path / "b.nc", "air", "time"),
        streamsvd.open(tmp_path / "c.npz"),
        streamsvd.open(lazy, "air", "time"),
        streamsvd.open(lazy.chunk(time=20), "air", "time"),
        streamsvd.open(made, "air", "time"),
    ]

    def find():
        masks = ["land", "land", None, "land", "land", "land"]
        return [
            streamsvd.pca(A, 2, mask=mask, memory="64MiB").s
            for A, mask in zip(sources, masks, strict=True)
        ]

    here = find()
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        use_scheduler(cluster.scheduler_address, None),
    ):
        there = find()
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)
