"""Times as the CF conventions store them, numbers of a unit since a date, in the calendar that they are meant in.

The usual calendar is that of ``numpy.datetime64``; those of climate models, and days before 15 October 1582, are read by cftime.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.errors import SpecError
from streamsvd.typing import Real

Numbers = npt.NDArray[np.int64]

FIELDS = ("month", "season", "dayofyear", "hour")
"""What rows are grouped by, as ``xarray`` names it."""
SEASONS = ("DJF", "MAM", "JJA", "SON")
USUAL = ("standard", "gregorian", "proleptic_gregorian")
OTHERS = ("julian", "noleap", "365_day", "all_leap", "366_day", "360_day")
REFORM = 15821015
"""First day of the Gregorian calendar, before which the standard one is the Julian."""
_UNITS = {
    "days": 86_400_000_000, "hours": 3_600_000_000, "minutes": 60_000_000, "seconds": 1_000_000, "milliseconds": 1000,
    "microseconds": 1,
}  # fmt: skip
_SHORT = {
    "d": "days", "h": "hours", "hr": "hours", "hrs": "hours", "min": "minutes", "mins": "minutes", "s": "seconds", "sec": "seconds",
    "secs": "seconds", "ms": "milliseconds", "msec": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
}  # fmt: skip
_SINCE = re.compile(
    r"\s*(\w+)\s+since\s+(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T ]+(\d{1,2})(?::(\d{1,2})(?::(\d{1,2})(?:\.0*)?)?)?)?"
    r"\s*(?:Z|UTC|GMT|[+-]?0{1,2}:?0{0,2})?\s*"
)
_PERIOD = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """When rows were.

    Attributes
    ----------
    month, dayofyear, hour
        From 1, from 1, and from 0.
    day
        ``year * 10000 + month * 100 + day``, by which periods are told in any calendar.
    days
        Days since 1970 in its calendar.
    """

    month: Numbers
    dayofyear: Numbers
    hour: Numbers
    day: Numbers
    days: Real

    @property
    def season(self) -> Numbers:
        """0 from December to February, 1 to May, 2 to August, 3 to November."""
        return self.month % 12 // 3

    def within(self, period: tuple[str, str]) -> npt.NDArray[np.bool_]:
        """Which lie in a period, its last day, month or year included."""
        first, last = (day_number(text, last=at) for at, text in enumerate(period))
        return (self.day >= first) & (self.day <= last)


def check_period(period: tuple[str, str]) -> None:
    """Refuse what is no first and last day.

    Raises
    ------
    SpecError
        It says how days are written.
    """
    first, last = (day_number(text, last=at) for at, text in enumerate(period))
    if first > last:
        raise SpecError(
            f"reference={list(period)!r} ends before it begins. Pass its first day, then its last."
        )


def day_number(text: Any, *, last: int) -> int:
    """``"1981-01-01"``, ``"1981-01"`` or ``"1981"`` as a number; what is left out is the first, or the last, there is."""
    match = _PERIOD.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise SpecError(
            f'{text!r} is no day of a reference. Pass first and last as texts, such as ["1981-01-01", "2010-12-31"], or years.'
        )
    year, month, day = (int(part) if part else None for part in match.groups())
    assert year is not None
    return year * 10000 + (month or (12 if last else 1)) * 100 + (day or (31 if last else 1))


def describe_group(field: str, value: int) -> str:
    """A group in words: ``month 3``, ``season DJF``."""
    return f"{field} {SEASONS[value] if field == 'season' else value}"


def read_times(values: npt.NDArray[Any], attributes: Mapping[str, Any], where: str) -> Times:
    """Times of an array, by its attributes ``units`` and ``calendar``.

    Parameters
    ----------
    values
        As stored, or ``datetime64``.
    attributes
        Of the array.
    where
        How messages call it.

    Raises
    ------
    SpecError
        If one is no time, the units or the calendar are not known, or the calendar needs cftime, which is not installed.
    """
    if values.dtype.kind == "M":
        _refuse_gaps(np.isnat(values), where)
        return _usual_times(values.astype("M8[us]").astype(np.int64))
    units, calendar = attributes.get("units"), str(attributes.get("calendar") or "standard").lower()
    match = _SINCE.fullmatch(units) if isinstance(units, str) else None
    if match is None or (unit := _unit(match[1])) is None:
        raise SpecError(
            f"{where} has units={units!r}, which are no times. Write a unit from days to nanoseconds since a date, such as "
            '"hours since 1970-01-01".'
        )
    if calendar not in (*USUAL, *OTHERS):
        raise SpecError(
            f"{where} has calendar={calendar!r}, which is not known. Write one of {', '.join((*USUAL, *OTHERS))}."
        )
    _refuse_gaps(~np.isfinite(values), where)
    if calendar in USUAL:
        times = _usual_times(_microseconds(values, unit, match, where))
        if calendar == "proleptic_gregorian" or int(times.day.min()) >= REFORM:
            return times
    return _other_times(values, unit, (str(units), calendar), where)


def usual_dates(
    values: npt.NDArray[Any], attributes: Mapping[str, Any]
) -> npt.NDArray[np.datetime64] | None:
    """Times of an array as dates, where they are of the usual calendar, all there and no older than it; None otherwise."""
    units, calendar = attributes.get("units"), str(attributes.get("calendar") or "standard").lower()
    match = _SINCE.fullmatch(units) if isinstance(units, str) else None
    if match is None or (unit := _unit(match[1])) is None or calendar not in USUAL:
        return None
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        return None
    try:
        dates = _microseconds(values, unit, match, "times").astype("M8[us]")
    except SpecError:  # beyond what there are dates for
        return None
    old = calendar != "proleptic_gregorian" and (dates < np.datetime64("1582-10-15")).any()
    return None if old else dates


def _unit(text: str) -> str | None:
    """A unit by its full name."""
    name = text.lower()
    name = _SHORT.get(name, name if name.endswith("s") else f"{name}s")
    return name if name in _UNITS or name == "nanoseconds" else None


def _refuse_gaps(gaps: npt.NDArray[np.bool_], where: str) -> None:
    if gaps.any():
        raise SpecError(
            f"{where} has no time at entry {int(np.argmax(gaps)):,} (NaT). Write it, or leave that row out of the matrix."
        )


def _microseconds(values: npt.NDArray[Any], unit: str, match: re.Match[str], where: str) -> Numbers:
    """Microseconds since 1970, in the calendar of numpy."""
    year, month, day = (int(match[i]) for i in (2, 3, 4))
    try:
        start = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "us").astype(np.int64)
    except ValueError as error:
        raise SpecError(
            f"{where} has times since {match[2]}-{match[3]}-{match[4]}, which is no date. Correct its units."
        ) from error
    hour, minute, second = (int(match[i] or 0) for i in (5, 6, 7))
    start += ((hour * 60 + minute) * 60 + second) * 1_000_000
    found: Numbers = start + _durations(values, unit, where)
    return found


def _durations(values: npt.NDArray[Any], unit: str, where: str) -> Numbers:
    """Numbers of a unit in microseconds."""
    if unit == "nanoseconds":
        return (values // 1000).astype(np.int64)
    size = _UNITS[unit]
    if float(np.abs(values).max(initial=0)) * size > 2.0**62:
        raise SpecError(f"{where} has times beyond the year 100,000. Correct its units.")
    if values.dtype.kind in "iu":
        return values.astype(np.int64) * size
    return np.rint(values.astype(np.float64) * size).astype(np.int64)


def _usual_times(since: Numbers) -> Times:
    """Of microseconds since 1970."""
    days = since.astype("M8[us]").astype("M8[D]")
    months, years = days.astype("M8[M]"), days.astype("M8[Y]")
    month = months.astype(np.int64) % 12 + 1
    year = years.astype(np.int64) + 1970
    of_month = (days - months.astype("M8[D]")).astype(np.int64) + 1
    return Times(
        month,
        (days - years.astype("M8[D]")).astype(np.int64) + 1,
        since // _UNITS["hours"] % 24,
        year * 10000 + month * 100 + of_month,
        since / _UNITS["days"],
    )


def _other_times(
    values: npt.NDArray[Any], unit: str, attributes: tuple[str, str], where: str
) -> Times:
    """Of a calendar that numpy has not; every day is made a date once, however many times it has."""
    units, calendar = attributes
    if find_spec("cftime") is None:
        raise SpecError(
            f"{where} is in the calendar {calendar!r}, which cftime reads, and that is not installed. Run pip install "
            "'streamsvd[calendars]'."
        )
    import cftime

    try:
        first = cftime.num2date(0, units, calendar)
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        since_midnight = round((first - midnight).total_seconds() * 1e6) + _durations(
            values, unit, where
        )
        day, within = np.divmod(since_midnight, _UNITS["days"])
        numbers, place = np.unique(day, return_inverse=True)
        dates = np.atleast_1d(
            cftime.num2date(numbers, f"days since {midnight.isoformat()}", calendar)
        )
        since_1970 = np.asarray(
            cftime.date2num(dates, "days since 1970-01-01", calendar), np.float64
        )
    except (ValueError, OverflowError) as error:
        raise SpecError(f"{where} cannot be read as times: {error}. Correct its units.") from error

    def each(name: str) -> Numbers:
        return np.array([getattr(date, name) for date in dates], np.int64)[place]

    month = each("month")
    return Times(
        month,
        each("dayofyr"),
        within // _UNITS["hours"],
        each("year") * 10000 + month * 100 + each("day"),
        since_1970[place] + within / _UNITS["days"],
    )
