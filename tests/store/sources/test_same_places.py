"""Weights and masks with labels lie where the matrix has the same labels, or are refused; those without lie by their position."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import SpecError
from streamsvd.labels import Coordinate
from streamsvd.store.sources.same_places import check_coordinates

xr = pytest.importorskip("xarray", reason="labelled arrays are of xarray")
pd = pytest.importorskip("pandas", reason="a Series is of pandas")

DAYS, LAT, LON = 40, (-60.0, -30.0, 0.0, 30.0, 60.0), (0.0, 90.0, 180.0, 270.0)
OTHER = r"has lat=60.0 at place 0, where the matrix has -60.0 \(4 of 5 differ\).*sortby"


def field() -> Any:
    values = np.random.default_rng(0).standard_normal((DAYS, len(LAT), len(LON)))
    along = {"time": pd.date_range("2000-01-01", periods=DAYS), "lat": list(LAT), "lon": list(LON)}
    return xr.DataArray(values, along, ("time", "lat", "lon"))


def weights(values: Any = (1.0, 2.0, 3.0, 4.0, 5.0)) -> Any:
    return xr.DataArray(list(values), {"lat": list(LAT)}, ("lat",))


def turned(given: Any, dim: str = "lat") -> Any:
    return given.isel({dim: slice(None, None, -1)})


@pytest.fixture
def matrix() -> Any:
    return streamsvd.open(field(), rows="time")


VERBS = (streamsvd.pca, streamsvd.svd, streamsvd.plan_pca, streamsvd.plan_svd)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "options",
    [
        {"column_weights": turned(weights())},
        {"column_weights": {"lat": turned(weights())}},
        {"column_weights": {"lat": pd.Series(np.ones(5), index=LAT[::-1])}},
        {"mask": turned(weights()) > 1},
    ],
)
def test_verbs_refuse_columns_at_other_places(
    matrix: Any, verb: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(SpecError, match=OTHER):
        verb(matrix, 2, **options)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_refuse_rows_at_other_places(matrix: Any, verb: Any) -> None:
    days = field().time
    given = xr.DataArray(np.ones(DAYS), {"time": days}, ("time",))
    verb(matrix, 2, row_weights=given)
    series = pd.Series(np.ones(DAYS), index=days.to_index()[::-1])
    for other in (turned(given, "time"), series):
        with pytest.raises(
            SpecError,
            match=r"row_weights has time=2000-02-09 at place 0, where the matrix has 2000-01-01",
        ):
            verb(matrix, 2, row_weights=other)


def test_a_plan_does_not_hide_labels(matrix: Any) -> None:
    plan = streamsvd.plan_pca(matrix, 2, mask=weights() < 9)
    for given in ({"mask": turned(weights()) < 9}, {"column_weights": turned(weights())}):
        with pytest.raises(SpecError, match=OTHER):
            streamsvd.pca(matrix, plan=plan, **given)


def test_the_same_places_and_no_places_are_taken(matrix: Any) -> None:
    wanted = np.repeat([1.0, 2, 3, 4, 5], 4)
    bare = weights().drop_vars("lat")
    nearly = weights().assign_coords(lat=np.float32(LAT) * (1 + 1e-7))
    strange = bare.rename(lat="belt").expand_dims(site=4).transpose("belt", "site")
    for given in (weights(), bare, nearly, strange, wanted, pd.Series(wanted)):
        np.testing.assert_array_equal(streamsvd.column_weights(matrix, given), wanted)
    with pytest.raises(SpecError, match=OTHER):
        streamsvd.column_weights(matrix, turned(weights()))
    with pytest.raises(SpecError, match=r"lies along lon\. Pass one that lies along lat"):
        streamsvd.column_weights(matrix, {"lat": weights().drop_vars("lat").rename(lat="lon")})


@pytest.mark.parametrize(
    "options",
    [
        {"column_weights": weights()},
        {"column_weights": {"lat": weights()}},
        {"mask": weights() > 1},
        {"mask": xr.DataArray([True] * 4, {"lon": list(LON)}, ("lon",))},
    ],
)
def test_models_keep_labels_until_the_first_block(
    matrix: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    """Labels are kept with what waits, and held against the first block as against later ones."""
    (name, given) = next(iter(options.items()))
    dim = "lon" if getattr(given, "dims", ()) == ("lon",) else "lat"
    other = {"lat": turned(given["lat"])} if isinstance(given, dict) else turned(given, dim)
    wrong = streamsvd.Model.create(tmp_path / "wrong", rank=2, **{name: other})
    with pytest.raises(SpecError, match=rf"has {dim}=.* at place 0, where the matrix has"):
        wrong.update(matrix)
    right = streamsvd.Model.create(tmp_path / "right", rank=2, **options)
    right.update(matrix)
    with pytest.raises(SpecError, match=rf"has {dim}=.* at place 0, where the matrix has"):
        right.update(matrix, **{name: other})


def test_a_series_is_held_against_the_names_of_columns(tmp_path: Path) -> None:
    table = pd.DataFrame(np.random.default_rng(1).standard_normal((30, 3)), columns=["a", "b", "c"])
    A = streamsvd.open(table)
    given = pd.Series([1.0, 2.0, 3.0], index=["a", "b", "c"])
    np.testing.assert_array_equal(streamsvd.column_weights(A, given), [1, 2, 3])
    with pytest.raises(SpecError, match=r"has column=c at place 0, where the matrix has a"):
        streamsvd.column_weights(A, given[::-1])
    model = streamsvd.Model.create(tmp_path / "model", rank=2, column_weights=given[::-1])
    with pytest.raises(SpecError, match=r"at place 0, where the matrix has a"):
        model.update(A)


def test_times_are_compared_as_dates() -> None:
    days = Coordinate("time", ("time",), np.arange(3.0), {"units": "days since 2000-01-01"})
    hours = Coordinate("time", ("time",), np.arange(3) * 24, {"units": "hours since 2000-01-01"})
    late = Coordinate("time", ("time",), np.arange(3) * 24 + 24, hours.attributes)
    check_coordinates([days], [hours], "mask", "the matrix")
    with pytest.raises(SpecError, match="time=2000-01-01 at place 0, where .* 2000-01-02"):
        check_coordinates([days], [late], "mask", "the matrix")


def test_gaps_and_texts_are_compared() -> None:
    def along(values: Any) -> Coordinate:
        return Coordinate.of("x", ("x",), np.asarray(values))

    check_coordinates([along([np.nan, 1.0])], [along([np.nan, 1.0])], "mask", "the matrix")
    check_coordinates([along([1.0])], [along([1.0, 2.0])], "mask", "the matrix")  # a shape
    with pytest.raises(SpecError, match=r"x=nan at place 1, where the matrix has 2.0 \(1 of 2"):
        check_coordinates([along([1.0, np.nan])], [along([1.0, 2.0])], "mask", "the matrix")
    with pytest.raises(SpecError, match="x=b at place 0, where the matrix has a"):
        check_coordinates([along(["b"])], [along(["a"])], "mask", "the matrix")
