"""Labels of a matrix travel through a result to a file and back; what cannot be read of them is left out with a note."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import streamsvd
from streamsvd.labels import Coordinate, Dimension, Labels, TextValues, plain_attributes
from streamsvd.store.sources import labels as labels_module
from streamsvd.store.sources.labels import source_labels


@pytest.fixture
def air(tmp_path):
    rng = np.random.default_rng(0)
    data = xr.Dataset(
        {"t2m": (("time", "lat", "lon"), rng.standard_normal((12, 3, 4)).astype("f4"))},
        coords={
            "time": np.arange("2000-01", "2001-01", dtype="M8[M]").astype("M8[ns]"),
            "lat": ("lat", [10.0, 0.0, -10.0], {"units": "degrees_north"}),
            "lon": [0, 90, 180, 270],
            "area": (("lat", "lon"), rng.random((3, 4)), {"units": "m2"}),
        },
    )
    data.t2m.attrs.update(units="K", long_name="air temperature")
    path = tmp_path / "air.zarr"
    data.to_zarr(path, consolidated=False)
    return path, data


def test_a_result_has_the_labels_of_its_matrix_and_keeps_them(air, tmp_path):
    path, data = air
    r = streamsvd.pca(streamsvd.open(path, "t2m", rows="time"), 2)
    r.save(tmp_path / "r")
    for result in (r, streamsvd.load(tmp_path / "r"), streamsvd.load(tmp_path / "r").svd):
        labels = result.labels
        assert labels.name == "t2m"
        assert labels.attributes == {"units": "K", "long_name": "air temperature"}
        assert labels.rows == (Dimension("time", 12),)
        assert labels.columns == (Dimension("lat", 3), Dimension("lon", 4))
        assert {c.name for c in labels.coordinates} == {"time", "lat", "lon", "area"}
        assert np.array_equal(labels.coordinate("lat").values, data.lat.values)
        assert labels.coordinate("lat").units == "degrees_north"
        assert np.array_equal(labels.coordinate("area").values, data.area.values)
        time = labels.coordinate("time")
        decoded = xr.decode_cf(xr.Dataset({"time": ("time", time.array, time.attributes)}))
        assert np.array_equal(decoded.time.values, data.time.values)
        assert not labels.notes


def test_labels_pass_through_views_and_policies(air):
    path, _ = air
    A = streamsvd.open(path, "t2m", rows="time")
    r = streamsvd.svd(streamsvd.anomalies(A, "season"), 2, mask=np.arange(12) % 5 != 0)
    assert r.labels.columns == (Dimension("lat", 3), Dimension("lon", 4))
    assert r.labels.coordinate("lon") is not None


def test_what_says_nothing_has_plain_labels(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 3, 2)))
    labels = source_labels(streamsvd.open(tmp_path / "a.npy", rows=0))
    assert [d.name for d in (*labels.rows, *labels.columns)] == ["row", "dim_1", "dim_2"]
    assert source_labels(streamsvd.open(np.ones((4, 3)))).columns == (Dimension("column", 3),)
    assert streamsvd.svd(np.eye(4), 2).labels.shape == (4, 4)


def test_a_coordinate_that_cannot_be_read_is_left_out_with_a_note(air):
    path, _ = air
    group = zarr.open_group(path)
    (path / "lat" / "c" / "0").write_bytes(b"nothing of the kind")
    assert group["lat"].shape == (3,)
    labels = source_labels(streamsvd.open(path, "t2m", rows="time"))
    assert labels.coordinate("lat") is None
    assert labels.coordinate("lon") is not None
    assert "the coordinate 'lat' is left out" in labels.notes[0]


def test_coordinates_of_very_many_rows_are_not_kept(air, monkeypatch):
    path, _ = air
    monkeypatch.setattr(labels_module, "MOST_ALONG_ROWS", 11)
    labels = source_labels(streamsvd.open(path, "t2m", rows="time"))
    assert labels.coordinate("time") is None
    assert labels.coordinate("lat") is not None
    assert "time" in labels.notes[0]


@given(st.lists(st.text(max_size=5), max_size=8))
def test_texts_are_what_they_were(texts):
    kept = TextValues.of(texts)
    assert len(kept) == len(texts)
    clean = [text.encode(errors="replace").decode() for text in texts]
    assert kept.values.tolist() == clean
    assert [kept[i] for i in range(len(texts))] == clean


def test_rows_of_labels_are_those_of_their_range():
    time = Coordinate.of("time", ["time"], np.arange(6))
    names = Coordinate.of("name", ["time"], list("abcdef"))
    lat = Coordinate.of("lat", ["lat"], np.arange(3.0))
    whole = Labels("t", {}, (Dimension("time", 6),), (Dimension("lat", 3),), (time, names, lat))
    part = whole.row_range(2, 5)
    assert part.shape == (3, 3)
    assert part.coordinate("time").array.tolist() == [2, 3, 4]
    assert part.coordinate("name").array.tolist() == ["c", "d", "e"]
    assert whole.of_columns.coordinates == (lat,)
    assert whole.column_names.tolist() == ["0.0", "1.0", "2.0"]


def test_attributes_are_plain_or_left_out():
    given_ = {"a": np.float32(2), "b": b"K", "c": np.array([1]), "d": object(), "e": np.nan}
    assert plain_attributes(given_) == {"a": 2.0, "b": "K", "c": 1}


def test_other_verbs_have_the_labels_of_their_columns_and_of_the_rows_they_took(air):
    path, data = air
    A = streamsvd.open(path, "t2m", rows="time")
    mask = np.arange(12) != 3
    found = {
        "sample": streamsvd.sample_rows(A, 5, mask=mask),
        "nystrom": streamsvd.nystrom(A, n_centres=4, length=3.0, mask=mask),
        "lstsq": streamsvd.lstsq(A, np.arange(12.0), mask=mask, method="qr", ridge=1.0),
        "krr": streamsvd.kernel_ridge(A, np.arange(12.0), n_centres=4, length=3.0, ridge=0.1),
        "top": streamsvd.top_eigenvectors(A, 1),
    }
    for result in found.values():
        assert result.labels.columns == (Dimension("lat", 3), Dimension("lon", 4))
        assert result.labels.coordinate("lon").array.tolist() == data.lon.values.tolist()
    whole = source_labels(A).coordinate("time").array
    for name, rows in (("sample", found["sample"].indices), ("nystrom", found["nystrom"].centres)):
        assert np.array_equal(found[name].labels.coordinate("time").array, whole[rows])
