"""Labels go with rows: new ones are held against those of the result, and what is written has dimensions and coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

import streamsvd
from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.testing.writing import write_grid

LAT, LON, T = np.linspace(-60, 60, 5), np.arange(0, 360, 60), 48
LAND = np.zeros((5, 6), bool)
LAND[2, 3] = LAND[0, 1] = True


def days(first, count):
    months = np.datetime64(first) + np.arange(count)
    return (months.astype("M8[D]") - np.datetime64("2000-01-01")).astype(int)


def grid(
    path,
    *,
    first="2000-01",
    lat=LAT,
    lon=LON,
    dims=("time", "lat", "lon"),
    seed=0,
    count=T,
    chunk=10,
):
    """A field with land, as xarray writes it, and its values in (time, lat, lon)."""
    rng = np.random.default_rng(seed)
    modes = np.random.default_rng(5).standard_normal((3, 5, 6))
    field = np.einsum("tk,kij->tij", rng.standard_normal((count, 3)), modes) + 280
    field += 0.1 * rng.standard_normal(field.shape)
    field[:, LAND] = np.nan
    shown = field[:, np.searchsorted(LAT, lat)][:, :, np.searchsorted(LON, lon)]
    coordinates = {
        "time": (days(first, count), {"units": "days since 2000-01-01", "calendar": "standard"}),
        "lat": (np.asarray(lat, float), {"units": "degrees_north"}),
        "lon": (np.asarray(lon, float), {"units": "degrees_east"}),
    }
    order = [("time", "lat", "lon").index(name) for name in dims]
    write_grid(
        path, "t2m", shown.transpose(order), dims, {"units": "K"}, chunk=chunk,
        coordinates={name: coordinates[name] for name in dims},
    )  # fmt: skip
    return field


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    root = tmp_path_factory.mktemp("grid")
    field = grid(root / "a.zarr")
    A = streamsvd.open(root / "a.zarr", "t2m", rows="time")
    return root, field, streamsvd.pca(A, 3, mask="auto", u=True)


def test_scores_are_written_with_the_times_of_the_rows(fitted, tmp_path) -> None:
    root, _, found = fitted
    grid(root / "next.zarr", first="2004-01", seed=1, count=12)
    S = found.transform(root / "next.zarr", variable="t2m", rows="time", out=tmp_path / "S.zarr")
    assert (S.shape, S.metadata.dimension_names) == ((12, 3), ("time", "mode"))
    with xr.open_zarr(tmp_path / "S.zarr") as scores:
        assert scores["scores"].dims == ("time", "mode")
        assert str(scores["time"].values[0])[:10] == "2004-01-01"
        np.testing.assert_array_equal(scores["scores"], S[:])
    again = streamsvd.open(tmp_path / "S.zarr")
    assert again.shape == (12, 3)
    with pytest.raises(StoreError, match="exists already"):
        found.transform(root / "a.zarr", variable="t2m", rows="time", out=tmp_path / "S.zarr")
    found.transform(
        root / "a.zarr", variable="t2m", rows="time", out=tmp_path / "S.zarr", overwrite=True
    )
    R = found.inverse_transform(tmp_path / "S.zarr", out=tmp_path / "R.zarr")
    assert (R.shape, R.metadata.dimension_names) == ((T, 5, 6), ("time", "lat", "lon"))
    np.testing.assert_allclose(R[:].reshape(T, -1), found.reconstruct(), atol=1e-10)


def test_rows_given_back_have_the_dimensions_of_the_field(fitted, tmp_path) -> None:
    root, field, found = fitted
    R = found.reconstruct("2000-03:2000-05", out=tmp_path / "R.zarr")
    assert R.shape == (3, 5, 6)
    with xr.open_zarr(tmp_path / "R.zarr") as back:
        assert back["t2m"].dims == ("time", "lat", "lon")
        assert back["t2m"].attrs["units"] == "K"
        assert [str(t)[:7] for t in back["time"].values] == ["2000-03", "2000-04", "2000-05"]
        np.testing.assert_array_equal(back["lat"], LAT)
        values = back["t2m"].values
    assert np.isnan(values[:, LAND]).all()
    np.testing.assert_allclose(values[:, ~LAND], field[2:5][:, ~LAND], atol=1)
    E = found.residual(root / "a.zarr", variable="t2m", rows="time", out=tmp_path / "E.zarr")
    np.testing.assert_allclose(E[2:5], field[2:5] - values, atol=1e-9)
    assert E.metadata.dimension_names == ("time", "lat", "lon")
    part = found.reconstruct(slice(0, 4), [3, 7], out=tmp_path / "P.zarr")
    assert part.metadata.dimension_names == ("time", "column")
    np.testing.assert_allclose(part[:], found.reconstruct()[:4, [3, 7]])


@pytest.mark.parametrize(
    ("rows", "count"),
    [("2000-01:2000-12", 12), ("2001", 12), (":2000-02", 2), ("2003-11:", 2), ("2002-02-01", 1)],
)
def test_rows_are_chosen_by_their_times(fitted, rows, count) -> None:
    found = fitted[2].reconstruct(rows)
    assert found.shape == (count, 30)


def test_labels_that_no_row_has_are_refused(fitted) -> None:
    found = fitted[2]
    with pytest.raises(SpecError, match="it runs from 2000-01-01 to 2003-12-01"):
        found.reconstruct("2010:2011")
    with pytest.raises(SpecError, match="are no days"):
        found.reconstruct("January")
    with pytest.raises(SpecError, match="are labels, and rows have none"):
        streamsvd.pca(np.random.default_rng(0).standard_normal((9, 4)), 2, u=True).reconstruct(
            "a:b"
        )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lat": LAT[::-1]}, "lat of .* differs from that of the result: at 0 it is 60, the result has -60. Pass align=True"),
        ({"lon": np.roll(LON, 2)}, "lon of .* differs .* at 0 it is 240, the result has 0"),
        ({"dims": ("time", "lon", "lat")}, "made of the dimensions lon, lat, those of the result of lat, lon"),
    ],
)  # fmt: skip
def test_other_columns_are_refused_by_name_and_put_in_order_by_label(
    fitted, tmp_path, given, words
) -> None:
    found = fitted[2]
    field = grid(tmp_path / "b.zarr", seed=2, **given)
    B = streamsvd.open(tmp_path / "b.zarr", "t2m", rows="time")
    for method in (found.transform, found.residual, found.score_samples):
        with pytest.raises(SpecError, match=words):
            method(B)
    with pytest.raises(SpecError, match=words):
        found.reconstruct(source=B)
    expected = found.transform(field.reshape(T, -1))
    np.testing.assert_allclose(found.transform(B, align=True), expected, atol=1e-9)
    S = found.transform(B, align=True, out=tmp_path / "S.zarr")
    np.testing.assert_allclose(S[:], expected, atol=1e-9)
    left = found.residual(B, align=True, out=tmp_path / "E.zarr")
    np.testing.assert_allclose(
        left[:].reshape(T, -1), field.reshape(T, -1) - found.inverse_transform(expected), atol=1e-9
    )
    with xr.open_zarr(tmp_path / "E.zarr") as kept:
        np.testing.assert_array_equal(kept["lat"], LAT)


def test_columns_that_the_result_has_not_are_left_out_and_those_it_has_must_be_there(
    fitted, tmp_path
) -> None:
    root, field, _ = fitted
    grid(tmp_path / "few.zarr", lat=LAT[1:], lon=LON[::2])
    few = streamsvd.pca(streamsvd.open(tmp_path / "few.zarr", "t2m", rows="time"), 2, mask="auto")
    whole = streamsvd.open(root / "a.zarr", "t2m", rows="time")
    with pytest.raises(SpecError, match="lat of .* differs"):
        few.transform(whole)
    expected = few.transform(field[:, 1:, ::2].reshape(T, -1))
    np.testing.assert_allclose(few.transform(whole, align=True), expected, atol=1e-9)
    with pytest.raises(SpecError, match="no column where lat is -60, as the result has"):
        fitted[2].transform(streamsvd.open(tmp_path / "few.zarr", "t2m", rows="time"), align=True)
    with pytest.raises(SpecError, match="no coordinate of column|made of the dimensions"):
        fitted[2].transform(np.ones((3, 30)), align=True)
    with pytest.raises(ShapeError, match="has 29 columns"):
        fitted[2].transform(np.ones((3, 29)))


def test_a_model_holds_new_rows_against_its_labels_too(fitted, tmp_path) -> None:
    root, field, found = fitted
    A = streamsvd.open(root / "a.zarr", "t2m", rows="time")
    streamsvd.update(tmp_path / "m", A, rank=3, center=True, u=True, mask="auto")
    model = streamsvd.Model.open(tmp_path / "m")
    np.testing.assert_allclose(np.abs(model.transform(A)), np.abs(found.transform(A)), atol=1e-2)
    np.testing.assert_allclose(
        model.reconstruct("2000-03:2000-05"), found.reconstruct("2000-03:2000-05"), atol=1e-2
    )
    grid(tmp_path / "b.zarr", lat=LAT[::-1])
    with pytest.raises(SpecError, match="lat of"):
        model.transform(streamsvd.open(tmp_path / "b.zarr", "t2m", rows="time"))
    R = model.reconstruct(out=tmp_path / "R.zarr")
    assert R.shape == field.shape


def test_names_of_columns_and_rows(tmp_path) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((40, 4))
    names, genes = [f"cell{i}" for i in range(40)], ["b", "a", "d", "c"]

    def write(path, values, genes):
        group = zarr.create_group(path)
        x = group.create_array(
            "x", shape=values.shape, chunks=(10, 4), dtype="f8", dimension_names=("cell", "gene")
        )
        x[...] = values
        for name, texts in (("cell", names), ("gene", genes)):
            group.create_array(
                name, shape=(len(texts),), chunks=(len(texts),), dtype=str, dimension_names=(name,)
            )[...] = np.array(texts, object)

    write(tmp_path / "a.zarr", A, genes)
    found = streamsvd.pca(streamsvd.open(tmp_path / "a.zarr", "x"), 2, u=True)
    assert found.reconstruct("cell3:cell7").shape == (5, 4)
    assert found.reconstruct("cell9").shape == (1, 4)
    with pytest.raises(SpecError, match="no row is called 'cell99' in cell"):
        found.reconstruct("cell99")
    write(tmp_path / "b.zarr", A[:, [3, 2, 1, 0]], genes[::-1])
    B = streamsvd.open(tmp_path / "b.zarr", "x")
    with pytest.raises(SpecError, match="gene of .* differs .* at 0 it is c, the result has b"):
        found.transform(B)
    np.testing.assert_allclose(found.transform(B, align=True), found.transform(A), atol=1e-10)
    S = found.transform(B, align=True, out=tmp_path / "S.zarr")
    assert S.metadata.dimension_names == ("cell", "mode")
    again = streamsvd.open(tmp_path / "S.zarr", "scores")
    kept = streamsvd.pca(again, 1).labels.coordinate("cell")
    assert list(kept.array[:3]) == ["cell0", "cell1", "cell2"]
