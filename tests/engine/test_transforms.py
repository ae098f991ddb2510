"""Anomalies and trends of stored matrices are those of numpy; labels that cannot be meant are refused before anything is read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import streamsvd
from streamsvd.engine.events import PassStarted, SpanDone
from streamsvd.engine.passes import Block
from streamsvd.engine.row_fits import RowFitPass, schedule_fit
from streamsvd.engine.row_labels import RowTransform, label_rows
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.engine.transforms import fit_request
from streamsvd.errors import BudgetError, NonFiniteError, SpecError
from streamsvd.store.sources.views.adjusted import RowLabels
from streamsvd.testing import assert_pass, assert_source
from streamsvd.testing.writing import write_grid

DIMS = ("time", "lat", "lon")
SINCE = {"units": "days since 1999-12-15", "calendar": "proleptic_gregorian"}


def everything(source) -> np.ndarray:
    """The whole matrix."""
    out = np.empty(source.shape, source.dtype)
    source.read(slice(0, source.shape[0]), slice(0, source.shape[1]), out)
    return out


def field(months: int = 40, seed: int = 0, dtype: str = "f4") -> np.ndarray:
    """Months of a small grid, with gaps and a cell of none."""
    rng = np.random.default_rng(seed)
    X = (
        280
        + 10 * np.cos(2 * np.pi * np.arange(months) / 12)[:, None, None]
        + rng.standard_normal((months, 3, 4))
    )
    X[:, 1, 2] = np.nan
    X[5:6, 0, 0] = np.nan
    return X.astype(dtype)


@pytest.fixture
def air(tmp_path) -> Callable[..., str]:
    """Writes a field with coordinates, and says where."""

    def write(
        values=None, *, days=None, time=SINCE, chunk=7, latitude=(-60.0, 0.0, 60.0), **others
    ) -> str:
        values = field() if values is None else values
        days = np.arange(len(values)) * 30 if days is None else np.asarray(days)
        coordinates = {
            "time": (days, time),
            "lat": (np.array(latitude), {"units": "degrees_north"}),
            "lon": (np.arange(values.shape[2]) * 10.0, {"units": "degrees_east"}),
        } | others
        path = tmp_path / "my air.zarr"
        write_grid(
            path,
            "t",
            values,
            DIMS,
            {},
            chunk=chunk,
            coordinates={k: v for k, v in coordinates.items() if v},
        )
        return str(path)

    return write


def by_hand(X: np.ndarray, groups: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Rows without the means of their groups, as a loop subtracts them."""
    X = X.reshape(len(X), -1).astype(np.complex128 if X.dtype.kind == "c" else np.float64)
    out = np.full_like(X, np.nan)
    for group in np.unique(groups):
        for j in range(X.shape[1]):
            rows = groups == group
            there = X[rows & (True if reference is None else reference), j]
            there = there[~np.isnan(there)]
            if there.size:
                out[rows, j] = X[rows, j] - there.mean()
    return out


def dates(days) -> np.ndarray:
    return np.datetime64("1999-12-15") + np.asarray(days)


def months(days) -> np.ndarray:
    return dates(days).astype("M8[M]").astype(int) % 12 + 1


@pytest.mark.parametrize("by", ["month", "season", "dayofyear", "hour", ["month", "hour"]])
def test_anomalies_are_those_of_xarray(air, by):
    hours = np.arange(0, 40 * 24 * 20, 100) if by != "dayofyear" else np.arange(40) * 24 * 73
    values = field(len(hours))
    path = air(
        values,
        days=hours,
        time={"units": "hours since 1999-12-15", "calendar": "proleptic_gregorian"},
    )
    found = everything(streamsvd.anomalies(streamsvd.open(path, "t", "time"), by))
    data = xarray.open_zarr(path, consolidated=False).t.astype("f8")
    keys = [
        getattr(data.time.dt, name).astype(str).values
        for name in ([by] if isinstance(by, str) else by)
    ]
    data = data.assign_coords(key=("time", [" ".join(parts) for parts in zip(*keys, strict=True)]))
    wanted = (data.groupby("key") - data.groupby("key").mean()).values.reshape(len(values), -1)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stores_of_xarray_are_read_as_it_writes_them(tmp_path, zarr_format):
    index = xarray.date_range("2001-01-01", periods=800, freq="D")
    data = xarray.Dataset(
        {"t2m": (DIMS, field(800))},
        {"time": index, "lat": ("lat", [-60.0, 0.0, 60.0], {"units": "degrees_north"})},
    )
    path = tmp_path / "era.zarr"
    encoding = {"t2m": {"chunks": (100, 3, 4)}}
    data.to_zarr(path, zarr_format=zarr_format, consolidated=zarr_format == 2, encoding=encoding)
    source = streamsvd.open(path, "t2m", "time")
    found = everything(streamsvd.anomalies(source, "dayofyear"))
    groups = data.t2m.astype("f8").groupby("time.dayofyear")
    np.testing.assert_allclose(
        found, (groups - groups.mean()).values.reshape(800, 12), rtol=0, atol=1e-11
    )
    assert streamsvd.column_weights(source, {"lat": "cos"})[0] == pytest.approx(np.sqrt(0.5))


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_calendars_of_models_are_those_of_xarray(tmp_path, calendar):
    pytest.importorskip("cftime")
    index = xarray.date_range(
        "2001-01-01", periods=800, freq="D", calendar=calendar, use_cftime=True
    )
    data = xarray.Dataset({"t2m": (DIMS, field(800))}, {"time": index})
    data.to_zarr(tmp_path / "model.zarr", consolidated=False)
    source = streamsvd.open(tmp_path / "model.zarr", "t2m", "time")
    found = everything(streamsvd.anomalies(source, "month", reference=["2001", "2002-06"]))
    kept = data.t2m.astype("f8")
    wanted = (
        kept.groupby("time.month")
        - kept.sel(time=slice("2001", "2002-06")).groupby("time.month").mean()
    )
    np.testing.assert_allclose(found, wanted.values.reshape(800, 12), rtol=0, atol=1e-11)


def test_a_reference_gives_the_means_and_holds_its_last_day(air):
    days = np.arange(40) * 30
    source = streamsvd.open(air(days=days), "t", "time")
    seen = []
    found = streamsvd.anomalies(source, reference=["2000-06", "2001-12-04"], callback=seen.append)
    reference = (dates(days) >= np.datetime64("2000-06-01")) & (
        dates(days) <= np.datetime64("2001-12-04")
    )
    np.testing.assert_allclose(
        everything(found), by_hand(field(), months(days), reference), rtol=0, atol=1e-11
    )
    (read,) = [event for event in seen if isinstance(event, PassStarted)]
    first, last = np.flatnonzero(reference)[[0, -1]]
    assert (
        read.bytes_read == (last + 1 - first // 7 * 7) * 12 * 4
    )  # whole chunks, and no later rows


def test_dates_that_come_twice_or_in_no_order_are_fine(air):
    days = np.random.default_rng(3).integers(0, 700, 40)
    found = streamsvd.anomalies(streamsvd.open(air(days=days), "t", "time"))
    np.testing.assert_allclose(
        everything(found), by_hand(field(), months(days)), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("with_groups", [True, False])
def test_a_trend_is_that_of_least_squares_beside_the_means(air, with_groups):
    values = field() + 0.01 * np.arange(40)[:, None, None].astype("f4") ** 1.5
    days = np.arange(40) * 30
    source = streamsvd.open(air(values), "t", "time")
    found = everything(
        streamsvd.anomalies(source, detrend=True) if with_groups else streamsvd.detrend(source)
    )
    X = values.reshape(40, 12).astype("f8")
    groups = months(days) if with_groups else np.zeros(40, int)
    for j in range(12):
        there = ~np.isnan(X[:, j])
        if there.any():
            D = np.c_[(groups[:, None] == np.unique(groups)).astype(float), days / 600 - 1]
            wanted = X[:, j] - D @ np.linalg.lstsq(D[there], X[there, j], rcond=None)[0]
            np.testing.assert_allclose(found[:, j], wanted, rtol=0, atol=1e-10)
    assert np.isnan(found[:, 6]).all()


def test_a_trend_is_along_any_numbers(air):
    path = air(time={}, days=np.arange(40) ** 2)
    found = everything(streamsvd.detrend(streamsvd.open(path, "t", "time"), "time"))
    wanted = everything(streamsvd.detrend(field().reshape(40, 12), np.arange(40) ** 2))
    np.testing.assert_array_equal(found, wanted)


def test_rows_of_two_dimensions_take_the_labels_of_one(tmp_path):
    values = field().reshape(40, 2, 6)
    coordinates = {"time": (np.arange(40) * 30, SINCE)}
    write_grid(
        tmp_path / "a.zarr",
        "t",
        values,
        ("time", "member", "cell"),
        {},
        chunk=8,
        coordinates=coordinates,
    )
    source = streamsvd.open(tmp_path / "a.zarr", "t", ("member", "time"))
    with pytest.raises(
        SpecError,
        match="rows of .* are made by member and time. Say which of them has the times, such as of='member'",
    ):
        streamsvd.anomalies(source)
    found = everything(streamsvd.anomalies(source, of="time"))
    rows = values.transpose(1, 0, 2).reshape(80, 6)
    np.testing.assert_allclose(
        found, by_hand(rows, np.tile(months(np.arange(40) * 30), 2)), rtol=0, atol=1e-11
    )


@st.composite
def matrices(draw):
    """Matrices of all kinds with labels, gaps, and chunks."""
    m, n = draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = np.dtype(draw(st.sampled_from(["f4", "f8", "i4", "u2", "c16"])))
    A = (50 * rng.standard_normal((m, n)) + 200).astype(dtype)
    if dtype.kind in "fc":
        A[rng.random((m, n)) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    groups = rng.integers(0, draw(st.integers(1, 5)), m)
    chunks = draw(st.integers(1, m)), draw(st.integers(1, n))
    return A, groups, chunks


@given(matrices())
@settings(max_examples=12)
def test_any_matrix_with_labels_of_the_caller(case):
    A, groups, chunks = case
    array = zarr.create_array({}, shape=A.shape, dtype=A.dtype, chunks=chunks)
    array[...] = A
    opened = streamsvd.open(array, missing="fill")
    found = streamsvd.anomalies(opened, groups)
    np.testing.assert_allclose(everything(found), by_hand(A, groups), rtol=0, atol=1e-10)
    assert_source(found, like=everything(found))
    with use_scheduler(None, 1):
        alone = streamsvd.anomalies(opened, groups, memory="60MiB")
    np.testing.assert_array_equal(everything(alone), everything(found))
    trend = everything(streamsvd.anomalies(opened, groups, detrend=np.arange(len(A)) / len(A)))
    there = ~np.isnan(trend)
    for j in range(A.shape[1]):  # nothing of a group or of the trend is left
        for group in np.unique(groups):
            rows = there[:, j] & (groups == group)
            assert abs(trend[rows, j].sum()) < 1e-8 * max(1, len(A))
        assert (
            abs((trend[there[:, j], j] * np.arange(len(A))[there[:, j]]).sum()) < 1e-6 * len(A) ** 2
        )


def test_bits_are_the_same_on_any_threads_and_in_any_memory(air):
    path = air(field(400), chunk=9)
    source = streamsvd.open(path, "t", "time")
    found = []
    for workers, memory in ((1, None), (2, None), (2, "60MiB")):
        with use_scheduler(None, workers):
            found.append(everything(streamsvd.anomalies(source, detrend=True, memory=memory)))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_rows_that_come_later_change_no_bit_of_a_reference(air, tmp_path):
    source = streamsvd.open(air(field(60)), "t", "time")
    before = everything(streamsvd.anomalies(source, reference=["2000", "2001"]))
    group = zarr.open_group(tmp_path / "my air.zarr")
    group["t"].append(field(30, seed=4))
    group["time"].append(np.arange(60, 90) * 30)
    later = everything(
        streamsvd.anomalies(
            streamsvd.open(tmp_path / "my air.zarr", "t", "time"), reference=["2000", "2001"]
        )
    )
    np.testing.assert_array_equal(later[:60], before)


@pytest.mark.parametrize(
    ("dtype", "trend"), [("f8", True), ("f4", False), ("c16", True), ("i4", True)]
)
def test_the_pass_keeps_the_laws_of_passes(dtype, trend):
    rng = np.random.default_rng(0)
    A = (30 * rng.standard_normal((200, 5))).astype(dtype)
    if A.dtype.kind in "fc":
        A[rng.random(A.shape) < 0.2] = np.nan
    labels = RowLabels(
        rng.integers(-1, 4, 200).astype(np.int32), np.linspace(-1, 1, 200) if trend else None
    )
    assert_pass(RowFitPass(labels, 4, 5, A.dtype, "A"), A)


def test_an_infinite_entry_is_named_by_its_row_in_the_matrix(air):
    values = field()
    values[30, 2, 1] = -np.inf
    source = streamsvd.open(air(values), "t", "time")
    with pytest.raises(NonFiniteError, match=r"Inf at row 30, column 9"):
        streamsvd.anomalies(source, reference=["2001-03", "2003"])
    outside = streamsvd.anomalies(
        source, reference=["2000", "2001"]
    )  # not read here, but by the verb
    with pytest.raises(NonFiniteError, match=r"Inf at row 30, column 9"):
        streamsvd.svd(outside, 2, nonfinite="mean")


def test_missing_values_stay_missing_and_the_policy_decides(air):
    source = streamsvd.anomalies(streamsvd.open(air(), "t", "time"))
    with pytest.raises(NonFiniteError, match="NaN at row"):
        streamsvd.svd(source, 2)
    found = streamsvd.svd(source, 3, nonfinite="zero")
    wanted = np.nan_to_num(by_hand(field(), months(np.arange(40) * 30)))
    np.testing.assert_allclose(found.s, np.linalg.svd(wanted, compute_uv=False)[:3], rtol=1e-8)
    assert found.info.dropped_columns == (6,)


def test_one_row_is_its_own_mean(air):
    source = streamsvd.open(air(field(1) + np.float32(1)), "t", "time")
    for found in (streamsvd.anomalies(source, detrend=True), streamsvd.detrend(source)):
        assert np.nan_to_num(everything(found)).any() == np.False_


def test_the_means_are_counted_and_refused_where_they_do_not_fit():
    A = np.zeros((400, 20_000), np.float32)
    with pytest.raises(
        BudgetError,
        match=r"means of 366 groups of rows in 20,000 columns from ndarray needs .* or ask for fewer groups",
    ) as caught:
        streamsvd.anomalies(A, np.arange(400) % 366, memory="50MiB")
    assert caught.value.needs > 366 * 20_000 * 16
    with pytest.raises(BudgetError):
        streamsvd.anomalies(A, np.arange(400) % 366, memory=caught.value.needs - 1)


def test_a_plan_depends_on_shapes_alone(air):
    source = streamsvd.open(air(), "t", "time")
    rows = label_rows(source, RowTransform(("month",), has_trend=True))
    schedule = schedule_fit(fit_request(source, rows), "200MiB")
    assert schedule.pass_bytes == source.nbytes
    assert schedule.projected_bytes <= 200 << 20


def test_weights_are_roots_of_cosines_in_the_order_of_the_columns(air):
    source = streamsvd.open(air(), "t", "time")
    wanted = np.repeat(np.sqrt(np.cos(np.deg2rad([-60.0, 0.0, 60.0]))), 4)
    np.testing.assert_allclose(streamsvd.column_weights(source, {"lat": "cos"}), wanted, rtol=1e-15)
    np.testing.assert_allclose(
        streamsvd.column_weights(streamsvd.anomalies(source), {"lat": "cos"}), wanted
    )
    turned = streamsvd.open(source.array.store.root, "t", ("lon", "time"))
    np.testing.assert_allclose(streamsvd.column_weights(turned, {"lat": "cos"}), wanted[::4])


def test_weights_may_be_an_array_beside_the_matrix(air, tmp_path):
    path = air()
    group = zarr.open_group(path)
    area = np.arange(12.0).reshape(4, 3)
    group.create_array("cell_area", data=area, dimension_names=("lon", "lat"))
    group.create_array("gauss", data=np.array([1.0, 4.0, 1.0]), dimension_names=("lat",))
    source = streamsvd.open(path, "t", "time")
    np.testing.assert_allclose(
        streamsvd.column_weights(source, "cell_area"), np.sqrt(area.T).reshape(-1)
    )
    np.testing.assert_allclose(
        streamsvd.column_weights(source, {"lat": "gauss"}), np.repeat([1.0, 2.0, 1.0], 4)
    )


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (
            {"time": "cos"},
            "is of the dimension 'time', which makes rows; columns of .* are made by lat, lon",
        ),
        ({"level": "cos"}, "is of no dimension 'level'"),
        ({"lon": "cos"}, "needs a latitude in degrees, and .*lon has units='degrees_east'"),
        ({"lat": "nowhere"}, "'nowhere' is no array beside"),
        ({"lat": "lon"}, r"is float64 over \['lon'\], and numbers over lat are needed"),
        ("lat", "has weights that are negative or missing"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused(air, weights, words):
    with pytest.raises(SpecError, match=words):
        streamsvd.column_weights(streamsvd.open(air(), "t", "time"), weights)


def test_what_is_no_latitude_is_refused(air):
    source = streamsvd.open(air(latitude=(-100.0, 0.0, 60.0)), "t", "time")
    with pytest.raises(SpecError, match="needs a latitude in degrees, and .*lat goes to 100"):
        streamsvd.column_weights(source, {"lat": "cos"})
    with pytest.raises(
        SpecError, match="weights by dimension need names of dimensions, and ndarray has none"
    ):
        streamsvd.column_weights(np.eye(3), {"lat": "cos"})


def test_a_mask_by_name_is_found_beside_the_anomalies(air):
    path = air()
    zarr.open_group(path).create_array(
        "sea", data=np.arange(12).reshape(3, 4) != 6, dimension_names=("lat", "lon")
    )
    source = streamsvd.anomalies(streamsvd.open(path, "t", "time"))
    assert streamsvd.svd(source, 2, nonfinite="mean", mask="sea").info.dropped_columns == (6,)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda A: streamsvd.anomalies(A, "week"),
            "by='week' is unknown. Pass one or more of month, season, dayofyear, hour",
        ),
        (lambda A: streamsvd.anomalies(A, ["month", "month"]), "names a field twice"),
        (lambda A: streamsvd.anomalies(A, []), "by= names nothing"),
        (
            lambda A: streamsvd.anomalies(A, of="lat"),
            "of='lat' makes columns of .*, whose rows are made by time",
        ),
        (lambda A: streamsvd.anomalies(A, of="day"), "of='day' is none of"),
        (
            lambda A: streamsvd.anomalies(A, reference=["1900", "1950"]),
            "has no row of .*, whose time goes from 1999-12-15 to 2003-",
        ),
        (
            lambda A: streamsvd.anomalies(A, reference=["1999", "2000-06"]),
            "row .* is of month 7, of which no row was fitted",
        ),
        (
            lambda A: streamsvd.anomalies(A, "season", reference=["1999", "2000-05"]),
            "is of season JJA",
        ),
        (lambda A: streamsvd.anomalies(A, reference="1999"), "is no period"),
        (
            lambda A: streamsvd.anomalies(A, np.zeros(3, int)),
            r"by= is int64 of shape \(3,\), and .* has 40 rows",
        ),
        (lambda A: streamsvd.anomalies(A, np.zeros(40)), "by= is float64"),
        (
            lambda A: streamsvd.anomalies(A, np.zeros(40, int), of="time"),
            "of='time' names a coordinate, and by= is an array",
        ),
        (
            lambda A: streamsvd.anomalies(A, np.zeros(40, int), detrend=True),
            "detrend=True needs times",
        ),
        (
            lambda A: streamsvd.anomalies(A, reference=np.zeros(40, bool)),
            "true for those that are fitted",
        ),
        (
            lambda A: streamsvd.anomalies(A, np.zeros(40, int), reference=["1999", "2000"]),
            "reference= is .* Pass booleans",
        ),
        (lambda A: streamsvd.detrend(A, np.zeros(3)), r"the times of the trend have shape \(3,\)"),
        (lambda A: streamsvd.detrend(A, [np.nan] * 40), "no finite numbers"),
        (lambda A: streamsvd.anomalies(np.eye(4)), "dimensions of ndarray have no names"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_read(air, call, words):
    with pytest.raises(SpecError, match=words):
        call(streamsvd.open(air(), "t", "time"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time": {"units": "K"}}, "units='K', which are no times"),
        ({"time": SINCE | {"calendar": "moon"}}, "calendar='moon', which is not known"),
        ({"days": np.r_[np.arange(39.0), np.nan]}, r"no time at entry 39 \(NaT\)"),
        (
            {"days": np.arange(39)},
            r"of shape \(39,\), and .* has 40 along time. Write one number for each",
        ),
    ],
)
def test_coordinates_that_say_nothing_are_refused(air, options, words):
    with pytest.raises(SpecError, match=words):
        streamsvd.anomalies(streamsvd.open(air(**options), "t", "time"))


def test_a_field_without_times_is_refused(tmp_path):
    write_grid(tmp_path / "a.zarr", "t", field(), DIMS, {}, chunk=8)
    with pytest.raises(SpecError, match="the coordinate 'time' of the rows is no array beside"):
        streamsvd.anomalies(streamsvd.open(tmp_path / "a.zarr", "t", "time"))


def test_a_pass_that_meets_an_infinite_entry_says_where():
    pass_ = RowFitPass(RowLabels(np.zeros(2, np.int32)), 1, 2, np.dtype("f8"), "A")
    from streamsvd.engine.device import thread_backend
    from streamsvd.numerics.blocks import BadEntry

    device = thread_backend("cpu")
    with pytest.raises(BadEntry) as caught:
        pass_.update(
            pass_.init(device), Block(5, slice(0, 2), np.array([[1, np.nan], [np.nan, np.inf]]))
        )
    assert (caught.value.row, caught.value.column) == (6, 1)


def test_a_dask_array_and_a_reader_take_labels_too():
    dask = pytest.importorskip("dask.array")
    A = np.random.default_rng(0).standard_normal((90, 7))
    groups = np.arange(90) % 5
    wanted = by_hand(A, groups)

    class Rows:
        shape, dtype, chunks = A.shape, A.dtype, (20, 7)

        def read(self, rows):
            return A[rows].copy()

    for A_given in (dask.from_array(A, chunks=(17, 4)), Rows()):
        found = streamsvd.anomalies(A_given, groups)
        np.testing.assert_allclose(everything(found), wanted, rtol=0, atol=1e-12)
        masked = streamsvd.svd(found, 2, mask=np.arange(7) != 3)
        true = np.linalg.svd(np.delete(wanted, 3, axis=1), compute_uv=False)
        np.testing.assert_allclose(masked.s, true[:2], rtol=1e-6)


def test_a_cluster_finds_the_same_bits(air):
    distributed = pytest.importorskip("distributed")
    source = streamsvd.open(air(field(200)), "t", "time")
    here = streamsvd.anomalies(source, detrend=True)
    values = streamsvd.svd(here, 3, nonfinite="zero", memory="200MiB").s
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as machine,
        distributed.Client(machine),
    ):
        there = streamsvd.anomalies(source, detrend=True)
        found = streamsvd.svd(there, 3, nonfinite="zero", memory="200MiB")
    np.testing.assert_array_equal(everything(there), everything(here))
    np.testing.assert_array_equal(found.s, values)


def test_a_run_that_is_killed_goes_on_from_its_saves(air, tmp_path):
    source = streamsvd.anomalies(streamsvd.open(air(field(200)), "t", "time"))
    options = {
        "nonfinite": "zero",
        "memory": "200MiB",
        "checkpoint": tmp_path / "saves",
        "save_seconds": 0,
    }
    whole = streamsvd.svd(source, 3, **options)
    seen = []

    def stop(event):
        seen.append(event)
        if sum(isinstance(e, SpanDone) for e in seen) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        streamsvd.svd(source, 3, **options, callback=stop)
    other = streamsvd.anomalies(streamsvd.open(source.array.store.root, "t", "time"), "season")
    with pytest.raises(SpecError, match="digests of some rows, so it is another matrix"):
        streamsvd.svd(other, 3, **options)
    np.testing.assert_array_equal(streamsvd.svd(source, 3, **options).s, whole.s)
