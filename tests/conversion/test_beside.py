"""What lies beside a matrix, and what it says of gaps, is there after it was converted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import streamsvd
from streamsvd.cli import app
from streamsvd.conversion.convert import plan_convert

FIELD = np.random.default_rng(0).standard_normal((30, 4, 3)).astype("f4")
SEA = np.random.default_rng(1).random((4, 3)) > 0.3


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dataset() -> Any:
    field = FIELD.copy()
    field[3, 1, 2] = np.nan
    along = {"time": range(30), "lat": [10.0, 20, 30, 40], "lon": [0.0, 1, 2]}
    return xr.Dataset(
        {
            "t2m": (("time", "lat", "lon"), field),
            "other": (("time", "lat", "lon"), field),
            "sea": (("lat", "lon"), SEA),
            "area": (("lat",), np.arange(4.0) + 1, {"units": "m2"}),
            "span": (("time",), np.ones(30)),
        },
        along,
    )


def stored(kind: str) -> Any:
    data = dataset()
    if kind == "zarr":
        data.to_zarr("a.zarr", consolidated=False)
        return "a.zarr"
    if kind == "object":
        return data
    data.to_netcdf("a.nc", engine="scipy" if kind == "netCDF-3" else "h5netcdf")
    return "a.nc"


@pytest.mark.parametrize("kind", ["zarr", "object", "netCDF-3", "netCDF-4"])
def test_arrays_over_columns_come_along(kind: str, here: Path) -> None:
    if kind == "netCDF-4":
        pytest.importorskip("h5netcdf", reason="writes netCDF-4")
    source = streamsvd.open(stored(kind), variable="t2m", rows="time")
    assert plan_convert(source).projected_bytes > 0
    streamsvd.convert(source, "rows.zarr")
    again = streamsvd.open("rows.zarr")
    assert again.shape == (30, 12)
    assert {c.name for c in streamsvd.pca(again, 1, nonfinite="mean").labels.coordinates} == {"time", "lat", "lon"}  # fmt: skip
    np.testing.assert_array_equal(
        streamsvd.column_weights(again, {"lat": "area"}),
        streamsvd.column_weights(source, {"lat": "area"}),
    )
    found = [streamsvd.pca(A, 2, mask="sea", nonfinite="mean") for A in (source, again)]
    np.testing.assert_allclose(found[0].s, found[1].s, rtol=1e-6)
    assert found[0].info.dropped_columns == found[1].info.dropped_columns
    data = xr.open_zarr("rows.zarr", consolidated=False)
    assert data["area"].attrs["units"] == "m2"
    assert set(data.variables) == {"t2m", "sea", "area", "time", "lat", "lon"}


@pytest.mark.parametrize("kind", ["zarr", "netCDF-3", "object"])
def test_a_name_that_is_not_there_is_answered_by_those_that_are(kind: str, here: Path) -> None:
    source = streamsvd.open(stored(kind), variable="t2m", rows="time")
    with pytest.raises(
        streamsvd.SpecError, match="mask='sae' is no array beside.*there are 'area'.*'sea'"
    ):
        streamsvd.pca(source, 2, mask="sae")


def printed_line(capsys: pytest.CaptureFixture[str], place: str) -> list[str]:
    assert app.run(["info", place]) == 0
    told = capsys.readouterr().out
    (line,) = [t for t in told.splitlines() if " streamsvd pca " in t]
    return shlex.split(line.partition("streamsvd ")[2])


@pytest.mark.parametrize("kind", ["zarr", "plink", "text"])
def test_the_line_of_a_copy_with_gaps_runs(
    kind: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "zarr":
        streamsvd.convert(streamsvd.open(stored("zarr"), variable="t2m", rows="time"), "rows.zarr")
    elif kind == "text":
        Path("t.csv").write_text("a,b,c\n1,2,3\n4,,6\n7,8,1\n2,2,1\n")
        streamsvd.convert("t.csv", "rows.zarr")
    else:
        codes = np.random.default_rng(0).integers(0, 256, (6, 5), dtype="u1")
        Path("x.bed").write_bytes(b"\x6c\x1b\x01" + codes.tobytes())
        Path("x.fam").write_text("".join(f"f{i} i{i} 0 0 0 -9\n" for i in range(20)))
        Path("x.bim").write_text("".join(f"1 s{i} 0 {i} A G\n" for i in range(6)))
        assert app.run([*printed_line(capsys, "x.bed"), "--quiet"]) == 0
        streamsvd.convert("x.bed", "rows.zarr")
    words = printed_line(capsys, "rows.zarr")
    assert words[-2:] == ["--nonfinite", "mean"]
    assert app.run([*words, "--quiet"]) == 0


def test_nothing_is_declared_where_nothing_is_missing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("A.npy", FIELD.reshape(30, 12))
    streamsvd.convert("A.npy", "rows.zarr")
    assert "--nonfinite" not in printed_line(capsys, "rows.zarr")


def test_advice_about_inf_is_about_inf() -> None:
    values = FIELD.reshape(30, 12).copy()
    values[3, 2] = np.inf
    for policy in ("raise", "mean"):
        with pytest.raises(streamsvd.NonFiniteError, match="Inf at row 3, column 2") as caught:
            streamsvd.pca(values, 2, nonfinite=policy)
        assert "division by zero" in caught.value.remedy
        assert 'nonfinite="zero"' not in caught.value.remedy


def test_an_empty_folder_could_have_held_shards(here: Path) -> None:
    Path("empty").mkdir()
    with pytest.raises(streamsvd.StoreError, match="no zarr array or group.*files of a matrix"):
        streamsvd.open("empty")
