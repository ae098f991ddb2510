"""A DataArray of dask: its chunks feed the spans, and its coordinates are labels."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.xarray_source import LabelledDaskSource
from streamsvd.errors import ShapeError, SpecError
from streamsvd.store.sources.labels import source_labels
from streamsvd.testing import assert_source

da = pytest.importorskip("dask.array")
xr = pytest.importorskip("xarray")
pd = pytest.importorskip("pandas")

CUBE = np.random.default_rng(0).standard_normal((24, 5, 6))


def field(chunks=(7, 2, 4), *, seen=None):
    lazy = da.from_array(CUBE, chunks)
    if seen is not None:

        def look(block):
            seen.append(block.shape)
            return block

        lazy = lazy.map_blocks(look, dtype=CUBE.dtype, meta=np.empty((0, 0, 0)))
    return xr.Dataset(
        {
            "air": (("time", "lat", "lon"), lazy, {"units": "K"}),
            "land": (("lat", "lon"), np.arange(30).reshape(5, 6) % 3 > 0),
        },
        {
            "time": pd.date_range("2000-01-01", periods=24, freq="MS"),
            "lat": np.linspace(-60, 60, 5),
        },
    )


@pytest.mark.parametrize("rows", ["time", ("lat", "lon"), ("lon", "time")])
def test_any_rectangle_is_the_one_of_the_array(rows):
    source = streamsvd.open(field(), "air", rows)
    assert isinstance(source, LabelledDaskSource)
    named = (rows,) if isinstance(rows, str) else rows
    order = [("time", "lat", "lon").index(r) for r in named]
    order += [i for i in range(3) if i not in order]
    assert_source(source, CUBE.transpose(order).reshape(source.shape))


@pytest.mark.parametrize("chunks", [(7, 2, 4), (24, 5, 2), (1, 5, 6)])
def test_a_pass_computes_each_chunk_once(chunks):
    seen = []
    source = streamsvd.open(field(chunks, seen=seen), "air", "time")
    assert source.chunks == (chunks[0], chunks[1] * 6)
    assert seen == []
    found = streamsvd.lstsq(source, np.ones(24))
    count = int(np.prod([-(-n // c) for n, c in zip(CUBE.shape, chunks, strict=True)]))
    assert len(seen) == count * found.info.passes


def test_every_road_gives_what_memory_gives():
    wanted = streamsvd.pca(CUBE.reshape(24, 30), 2).s
    source = streamsvd.open(field(), "air", "time")
    np.testing.assert_allclose(streamsvd.pca(source, 2).s, wanted, rtol=1e-3)
    masked = streamsvd.pca(source, 2, mask="land")
    assert np.isnan(masked.components[0]).sum() == 10
    monthly = streamsvd.svd(streamsvd.anomalies(source, "month"), 2)
    kept = CUBE.reshape(2, 12, 30)
    left = (kept - kept.mean(0)).reshape(24, 30)
    np.testing.assert_allclose(monthly.s, np.linalg.svd(left, compute_uv=False)[:2], rtol=1e-3)


def test_labels_are_its_coordinates():
    labels = source_labels(streamsvd.open(field(), "air", "time"))
    assert (labels.name, labels.attributes) == ("air", {"units": "K"})
    assert {c.name for c in labels.coordinates} == {"time", "lat"}
    result = streamsvd.svd(streamsvd.open(field().air, rows="time"), 2)
    assert [d.name for d in result.labels.columns] == ["lat", "lon"]


def test_what_is_packed_is_decoded():
    stored = np.round(CUBE * 100).astype("i2")
    stored[2, 3] = -999
    lazy = da.from_array(stored, (7, 2, 4))
    made = xr.DataArray(
        lazy, dims=("time", "lat", "lon"), attrs={"scale_factor": 0.01, "_FillValue": -999}
    )
    wanted = np.where(stored == -999, np.nan, stored * 0.01).reshape(24, 30)
    assert_source(streamsvd.open(made, rows="time"), wanted)


def test_what_is_no_matrix_is_refused():
    made = field()
    with pytest.raises(SpecError, match="no variable 'wind'"):
        streamsvd.open(made, "wind")
    with pytest.raises(ShapeError, match="is empty"):
        streamsvd.open(made.air[:0], rows="time")
    with pytest.raises(SpecError, match="holds bool"):
        streamsvd.open(made.air > 0, rows="time")
    with pytest.raises(SpecError, match="Say which are the rows"):
        streamsvd.open(made.air)
