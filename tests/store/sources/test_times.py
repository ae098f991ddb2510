"""Times of the CF conventions are those that xarray decodes, and what is no time is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsvd.errors import SpecError
from streamsvd.store.sources.times import check_period, read_times

UNITS = ["days", "hours", "minutes", "seconds", "milliseconds", "Days", "hour", "h", "d", "s"]
DATES = [
    "1970-01-01",
    "1900-1-1 00:00:0.0",
    "2000-02-29T12:30:00Z",
    "1850-01-01 06:00",
    "0001-01-01 00:00:00",
]


@given(
    st.lists(st.integers(0, 400_000), min_size=1, max_size=20),
    st.sampled_from(UNITS[:4]),
    st.sampled_from(DATES[:4]),
    st.sampled_from([np.int32, np.int64, np.float64]),
)
@settings(max_examples=25)
def test_fields_are_those_of_xarray(numbers, unit, date, kind):
    units = f"{unit} since {date}"
    values = np.array(numbers).astype(kind)
    if kind is np.float64:
        values = values / 4
    if unit == "days":
        values = values // 4 if kind is not np.float64 else values / 4
    found = read_times(values, {"units": units, "calendar": "proleptic_gregorian"}, "time")
    decoded = xarray.coding.times.decode_cf_datetime(values, units, "proleptic_gregorian")
    index = xarray.DataArray(decoded, dims="t").dt
    for name in ("month", "dayofyear", "hour"):
        np.testing.assert_array_equal(getattr(found, name), getattr(index, name).values)
    seasons = np.array(["DJF", "MAM", "JJA", "SON"])[found.season]
    np.testing.assert_array_equal(seasons, index.season.values)
    np.testing.assert_array_equal(
        found.day, index.year.values * 10000 + index.month.values * 100 + index.day.values
    )


@pytest.mark.parametrize("unit", UNITS)
def test_units_have_several_spellings(unit):
    found = read_times(np.array([0, 1]), {"units": f"{unit} since 1970-01-01"}, "time")
    assert found.month.tolist() == [1, 1]
    assert found.days[1] > 0


def test_nanoseconds_and_dates_of_numpy():
    dates = np.array(["1999-12-31T23", "2000-03-01T05"], "M8[ns]")
    numbers = read_times(dates.astype(np.int64), {"units": "nanoseconds since 1970-01-01"}, "time")
    own = read_times(dates, {}, "time")
    assert own.month.tolist() == numbers.month.tolist() == [12, 3]
    assert own.hour.tolist() == numbers.hour.tolist() == [23, 5]


@pytest.mark.parametrize(
    ("calendar", "last"),
    [("noleap", 365), ("365_day", 365), ("360_day", 360), ("all_leap", 366), ("julian", 366)],
)
def test_calendars_of_models_are_read_by_cftime(calendar, last):
    pytest.importorskip("cftime")
    days = np.arange(0, 3 * last)
    found = read_times(days, {"units": "days since 2000-01-01", "calendar": calendar}, "time")
    assert found.dayofyear.max() == last
    assert set(found.month) == set(range(1, 13))
    assert found.dayofyear[0] == found.dayofyear[last] == 1
    np.testing.assert_allclose(np.diff(found.days), 1)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_hours_in_calendars_of_models_are_those_of_cftime(calendar):
    cftime = pytest.importorskip("cftime")
    values, units = np.arange(-5000, 9000, 7.5), "hours since 1500-02-28 06:30:00"
    found = read_times(values, {"units": units, "calendar": calendar}, "time")
    dates = cftime.num2date(values, units, calendar)
    for name, its in (("month", "month"), ("dayofyear", "dayofyr"), ("hour", "hour")):
        np.testing.assert_array_equal(getattr(found, name), [getattr(d, its) for d in dates])
    wanted = cftime.date2num(dates, "days since 1970-01-01", calendar)
    np.testing.assert_allclose(found.days, wanted, rtol=0, atol=1e-6)


def test_days_before_the_reform_are_of_the_julian_calendar():
    pytest.importorskip("cftime")
    found = read_times(np.array([0, 577736]), {"units": "days since 0001-01-01"}, "time")
    assert found.day.tolist() == [10101, 15821004]


def test_a_calendar_that_needs_cftime_says_so(monkeypatch):
    monkeypatch.setattr("streamsvd.store.sources.times.find_spec", lambda name: None)
    with pytest.raises(
        SpecError,
        match=r"calendar 'noleap', which cftime reads, and that is not installed\. Run pip install",
    ):
        read_times(np.arange(3), {"units": "days since 2000-01-01", "calendar": "noleap"}, "time")


@pytest.mark.parametrize(
    ("values", "attributes", "words"),
    [
        ([0], {}, "units=None, which are no times"),
        ([0], {"units": "K"}, "units='K', which are no times"),
        (
            [0],
            {"units": "months since 2000-01-01"},
            "which are no times. Write a unit from days to nanoseconds",
        ),
        ([0], {"units": "days since 2000-13-01"}, "times since 2000-13-01, which is no date"),
        (
            [0],
            {"units": "days since 2000-01-01", "calendar": "lunar"},
            "calendar='lunar', which is not known",
        ),
        ([0, np.nan], {"units": "days since 2000-01-01"}, r"no time at entry 1 \(NaT\)"),
        ([0, np.inf], {"units": "days since 2000-01-01"}, r"no time at entry 1 \(NaT\)"),
        ([1e30], {"units": "days since 2000-01-01"}, "beyond the year 100,000"),
        (np.array(["NaT", "2000-01-01"], "M8[s]"), {}, r"no time at entry 0 \(NaT\)"),
    ],
)
def test_what_is_no_time_is_refused_in_words(values, attributes, words):
    with pytest.raises(SpecError, match=words):
        read_times(np.asarray(values), attributes, "time of a.zarr")


def test_a_period_holds_its_last_day_month_or_year():
    times = read_times(np.arange(800), {"units": "days since 1999-06-01"}, "time")
    assert times.within(("2000", "2000")).sum() == 366
    assert times.within(("2000-02", "2000-02")).sum() == 29
    assert times.within(("2000-02-28", "2000-03-01")).sum() == 3
    assert not times.within(("1850", "1900")).any()


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (("81", "2010"), "'81' is no day of a reference"),
        (("1981-01-01", "later"), "'later' is no day of a reference"),
        (("2010", "1981"), "ends before it begins"),
    ],
)
def test_what_is_no_period_is_refused_in_words(period, words):
    with pytest.raises(SpecError, match=words):
        check_period(period)
