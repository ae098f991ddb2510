"""What blocks say of their rows and columns is kept by a model, through versions, results that it extends, and files."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import streamsvd
from streamsvd.labels import Coordinate, Dimension, Labels
from streamsvd.models.labels import join_rows, pack_labels, unpack_labels


def write(path, start: str, stop: str, seed: int = 0) -> None:
    times = np.arange(start, stop, dtype="M8[M]").astype("M8[ns]")
    rng = np.random.default_rng(seed)
    xr.Dataset(
        {"t": (("time", "lat", "lon"), rng.standard_normal((times.size, 3, 4)))},
        coords={"time": times, "lat": [1.0, 0.0, -1.0], "lon": [0, 90, 180, 270]},
    ).to_zarr(path, consolidated=False, encoding={"time": {"units": "days since 2000-01-01"}})


def days(labels: Labels) -> list[int]:
    time = labels.coordinate("time")
    return (
        xr.decode_cf(xr.Dataset({"time": ("time", time.array, time.attributes)}))
        .time.values.astype("M8[M]")
        .astype(int)
        .tolist()
    )


@pytest.mark.parametrize("base", [False, True], ids=["created", "of a result"])
def test_a_model_has_the_labels_of_its_blocks(tmp_path, base):
    for i, (a, b) in enumerate([("2000-01", "2001-01"), ("2001-01", "2001-06")]):
        write(tmp_path / f"{i}.zarr", a, b, i)
    first = streamsvd.open(tmp_path / "0.zarr", "t", rows="time")
    if base:
        streamsvd.svd(first, 2, center=True, u=True, out=tmp_path / "m")
        model = streamsvd.Model.open(tmp_path / "m")
        assert days(model.labels) == list(range(360, 372))
    else:
        model = streamsvd.Model.create(tmp_path / "m", 2, u=True, center=True)
        model.update(first, "first")
    model.update(streamsvd.open(tmp_path / "1.zarr", "t", rows="time"), "second")
    for labels in (model.labels, streamsvd.load(tmp_path / "m").labels):
        assert labels.rows == (Dimension("time", 17),)
        assert labels.columns == (Dimension("lat", 3), Dimension("lon", 4))
        assert labels.coordinate("lon").array.tolist() == [0, 90, 180, 270]
        assert days(labels) == list(range(360, 377))


def test_rows_without_left_vectors_have_a_dimension_alone(tmp_path):
    write(tmp_path / "0.zarr", "2000-01", "2001-01")
    model = streamsvd.Model.create(tmp_path / "m", 2)
    model.update(streamsvd.open(tmp_path / "0.zarr", "t", rows="time"))
    assert model.labels.rows == (Dimension("time", 12),)
    assert model.labels.coordinate("time") is None
    assert model.labels.coordinate("lat") is not None


def test_blocks_in_memory_have_plain_labels(tmp_path):
    model = streamsvd.Model.create(tmp_path / "m", 2, u=True)
    model.update(np.random.default_rng(0).standard_normal((9, 5)), "a")
    assert model.labels.shape == (9, 5)
    assert model.as_svd().labels.columns == (Dimension("column", 5),)


def test_packed_labels_are_what_they_were():
    found = Labels(
        "t", {"units": "K"}, (Dimension("time", 2),), (Dimension("gene", 3),),
        (Coordinate.of("gene", ["gene"], ["a", "ß", ""]), Coordinate.of("time", ["time"], [1, 2])),
    )  # fmt: skip
    again = unpack_labels(pack_labels(found))
    assert (again.name, again.attributes, again.rows, again.columns) == (
        found.name, found.attributes, found.rows, found.columns,
    )  # fmt: skip
    assert again.coordinate("gene").array.tolist() == ["a", "ß", ""]
    with pytest.raises(streamsvd.StoreError, match="labels of the model are damaged"):
        unpack_labels(pack_labels(found)[:-3])


def test_rows_of_other_units_are_not_joined():
    def part(units):
        time = Coordinate.of("time", ["time"], [1, 2], {"units": units})
        return Labels(rows=(Dimension("time", 2),), coordinates=(time,))

    assert join_rows([part("days"), part("days")])[1][0].array.tolist() == [1, 2, 1, 2]
    assert join_rows([part("days"), part("hours")]) == (Dimension("time", 4), ())


def test_blocks_with_other_columns_are_refused(tmp_path):
    write(tmp_path / "0.zarr", "2000-01", "2001-01")
    model = streamsvd.Model.create(tmp_path / "m", 2)
    first = streamsvd.open(tmp_path / "0.zarr", "t", rows="time")
    model.update(first, "first")
    data = xr.open_zarr(tmp_path / "0.zarr", consolidated=False)
    others = {
        "lat of .* differs from that of the model: at 1 it is 0.5, the model has 0": data.assign_coords(lat=[1, 0.5, -1]),
        "dimensions lon, lat, those of the model of lat, lon": data.transpose("time", "lon", "lat"),
    }  # fmt: skip
    for i, (words, other) in enumerate(others.items()):
        other.drop_encoding().to_zarr(tmp_path / f"other{i}.zarr", consolidated=False)
        block = streamsvd.open(tmp_path / f"other{i}.zarr", "t", rows="time")
        with pytest.raises(streamsvd.SpecError, match=words):
            model.update(block, "second")
    model.update(np.random.default_rng(1).standard_normal((4, 12)), "in memory")  # says nothing
    assert model.n_rows == 16
