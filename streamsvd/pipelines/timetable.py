"""When a pipeline runs: the times of a cron line in a timezone, of which the newest that has come, and the next, are asked.

The times are those of cron: days of the week count from Sunday, and where both a day of the month and a day of the week
are given, either will do. APScheduler, which finds the times of a trigger, means other things by both, so that the line is
put into its words here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from importlib.util import find_spec
from typing import Any
from zoneinfo import ZoneInfo

from streamsvd.errors import DescriptionError, StoreError

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = ("minute", "hour", "day", "month", "day_of_week")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
"""As cron numbers them; 7 is Sunday too."""
NEAR, FAR = timedelta(minutes=1), timedelta(days=3700)
"""How far back the newest time is looked for, at first and at most: the 29th of February may be eight years away."""

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a pipeline runs by itself.

    Attributes
    ----------
    schedule, timezone
        A cron line, and where it is meant; None for a pipeline that is run by others.
    jitter
        Most seconds after a time at which its run begins.
    claims
        A path or a URL below which servers of several machines claim times; None for the state.
    """

    schedule: str | None = None
    timezone: str = "UTC"
    jitter: float = 0.0
    claims: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Timetable:
    """Times at which a pipeline is to run.

    Attributes
    ----------
    text, zone
        The cron line, and the name of the timezone in which it is meant.
    """

    text: str
    zone: str
    _triggers: tuple[Any, ...]
    _is_hourly: bool

    def newest(self, now: datetime) -> datetime | None:
        """The last time at or before now, in UTC; None where there was none for years."""
        back = NEAR
        while back < 2 * FAR:
            found = self._first(now - back)
            if found is not None and found <= now:
                while (later := self.following(found)) is not None and later <= now:
                    found = later
                return found
            back *= 2
        return None

    def following(self, now: datetime) -> datetime | None:
        """The first time after now, in UTC."""
        return self._first(now + INSTANT)

    def _first(self, now: datetime) -> datetime | None:
        """The first time at or after now."""
        found = (self._first_of(trigger, now) for trigger in self._triggers)
        return min((time for time in found if time is not None), default=None)

    def _first_of(self, trigger: Any, now: datetime) -> datetime | None:
        """The same of one trigger. An hour that is named comes once where the clock goes back; each hour comes as often as it is."""
        found: datetime | None = trigger.get_next_fire_time(None, now)
        while found is not None and found.fold and not self._is_hourly:
            found = trigger.get_next_fire_time(None, found.astimezone(UTC) + INSTANT)
        return None if found is None else found.astimezone(UTC)


def check_timing(timing: Timing) -> None:
    """Refuse a cron line, a timezone or a delay that cannot be meant; lines are looked at where APScheduler is there.

    Raises
    ------
    DescriptionError
        With what is wrong.
    """
    if not 0 <= timing.jitter < math.inf:
        raise DescriptionError(
            f"jitter={timing.jitter:g} is no number of seconds - at $.jitter. Pass 0 or more."
        )
    if timing.schedule is not None and find_spec("apscheduler") is not None:
        read_timetable(timing.schedule, timing.timezone)


def read_timetable(text: str, zone: str = "UTC", where: str = "$") -> Timetable:
    """The times that a cron line means.

    Parameters
    ----------
    text
        Five fields, minute, hour, day of the month, month and day of the week, or a word such as ``@daily``.
    zone
        A timezone by its name, such as ``Europe/Berlin``.
    where
        The table that has them, for messages.

    Raises
    ------
    DescriptionError
        If the line has no time, or there is no such timezone.
    StoreError
        If APScheduler is not installed.
    """
    try:
        from apscheduler.triggers.cron import CronTrigger
    except ImportError:
        raise StoreError(
            "a schedule needs APScheduler, which comes with an extra. Install it with: pip install 'streamsvd[schedule]'"
        ) from None
    place = f"at {where}.schedule"
    line = ALIASES.get(text.strip().lower(), text)
    fields = line.split()
    if len(fields) != len(FIELDS):
        raise DescriptionError(
            f"schedule={text!r} has {len(fields)} fields, not 5 - {place}. Write minute, hour, day, month and day of the week, "
            f"such as '0 3 * * *', or one of {', '.join(ALIASES)}."
        )
    timezone = _timezone(zone, where)
    try:
        triggers = tuple(CronTrigger(**named, timezone=timezone) for named in _triggers_of(fields))
    except ValueError as error:
        said = str(error).rstrip(".")
        raise DescriptionError(
            f"schedule={text!r} is no cron line: {said} - {place}. Write minute (0-59), hour (0-23), day (1-31), month (1-12) "
            "and day of the week (0-6, from Sunday)."
        ) from error
    found = Timetable(text, zone, triggers, fields[1].startswith("*"))
    if not _is_possible(fields):
        raise DescriptionError(
            f"schedule={text!r} comes at no time: no such month has such a day - {place}. Mend the day or the month."
        )
    return found


def _triggers_of(fields: list[str]) -> Iterator[dict[str, str]]:
    """The fields by their names; once for each of day and day of the week where either will do."""
    minute, hour, day, month, weekday = (field.lower() for field in fields)
    common = {"minute": minute, "hour": hour, "month": month, "second": "0"}
    week = _weekdays(weekday)
    if day.startswith("*") or weekday.startswith("*"):
        yield {**common, "day": day, "day_of_week": week}
    else:
        yield {**common, "day": day, "day_of_week": "*"}
        yield {**common, "day": "*", "day_of_week": week}


def _weekdays(text: str) -> str:
    """Days of the week by their names, whatever they were written as."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if slash and not (step.isdigit() and int(step)):
            raise ValueError(f"{part!r} has no step above 0")
        if span == "*":
            begin, end = 0, 6
        else:
            begin = _weekday(first)
            end = _weekday(last) if dash else (6 if slash else begin)
        if end < begin and end == 0:
            end = 7  # to Sunday
        if end < begin:
            raise ValueError(f"{part!r} ends before it begins")
        found.update(day % 7 for day in range(begin, end + 1, int(step) if slash else 1))
    return "*" if len(found) == 7 else ",".join(WEEKDAYS[day] for day in sorted(found))


def _weekday(text: str) -> int:
    """A day of the week by its number from Sunday."""
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isdigit() and int(text) <= 7:
        return int(text)
    raise ValueError(f"{text!r} is no day of the week")


def _is_possible(fields: list[str]) -> bool:
    """Whether some month that is meant has a day that is meant: found by hand, as searching all years would take seconds."""
    from apscheduler.triggers.cron.fields import DayOfMonthField, MonthField

    _, _, day, month, weekday = (field.lower() for field in fields)
    if not weekday.startswith("*"):
        return True
    days, months = DayOfMonthField("day", day), MonthField("month", month)
    year = datetime(2028, 1, 1, tzinfo=UTC)  # which has all days that years have
    dates = (year + timedelta(days=number) for number in range(366))
    return any(
        days.get_next_value(date) == date.day and months.get_next_value(date) == date.month
        for date in dates
    )


def _timezone(name: str, where: str) -> tzinfo:
    """A timezone by its name."""
    if name.upper() == "UTC":
        return UTC  # which needs no table of the system
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise DescriptionError(
            f"there is no timezone {name!r} - at {where}.timezone. Write one such as 'UTC' or 'Europe/Berlin'; where the system "
            "has no table of them, install tzdata."
        ) from error
