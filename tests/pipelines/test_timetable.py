"""Times of cron lines: those that cron means, in any timezone, also where its clock is put forward or back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamsvd.errors import DescriptionError, StoreError
from streamsvd.pipelines.timetable import read_timetable
from tests.pipelines.kit import SVD, refusal, write, write_matrix


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one matrix, whose name has a space."""
    return write_matrix(tmp_path / "my data")


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(line: str, begin: str, count: int, zone: str = "UTC") -> list[str]:
    """The first times after a moment."""
    table, now, found = read_timetable(line, zone), moment(begin), []
    for _ in range(count):
        now = table.following(now)
        assert now is not None
        found.append(now.strftime("%m-%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 3 * * *", ["11-29 03:00", "11-30 03:00", "12-01 03:00"]),
        ("*/20 8-9 * * *", ["11-29 08:00", "11-29 08:20", "11-29 08:40"]),
        ("5,50 0 * * *", ["11-29 00:05", "11-29 00:50", "11-30 00:05"]),
        ("0 0 1 * *", ["12-01 00:00", "01-01 00:00", "02-01 00:00"]),
        ("0 0 * jan *", ["01-01 00:00", "01-02 00:00", "01-03 00:00"]),
        ("0 0 * * 0", ["12-06 00:00", "12-13 00:00", "12-20 00:00"]),  # the 29th itself has begun
        ("0 0 * * 7", ["12-06 00:00", "12-13 00:00", "12-20 00:00"]),
        ("0 0 * * SUN", ["12-06 00:00", "12-13 00:00", "12-20 00:00"]),
        ("0 0 * * 1", ["11-30 00:00", "12-07 00:00", "12-14 00:00"]),
        ("0 0 * * 1-5/2", ["11-30 00:00", "12-02 00:00", "12-04 00:00"]),
        ("0 0 * * fri-sun", ["12-04 00:00", "12-05 00:00", "12-06 00:00"]),
        ("0 0 * * 5-7", ["12-04 00:00", "12-05 00:00", "12-06 00:00"]),
        (
            "0 0 * * */3",
            ["12-02 00:00", "12-05 00:00", "12-06 00:00"],
        ),  # Sunday, Wednesday, Saturday
        ("0 0 2 * mon", ["11-30 00:00", "12-02 00:00", "12-07 00:00"]),  # either will do
        (
            "0 0 */2 * mon",
            ["12-07 00:00", "12-21 00:00", "01-11 00:00"],
        ),  # both must, as cron has it
        ("0 0 29 2 *", ["02-29 00:00", "02-29 00:00", "02-29 00:00"]),
        ("@hourly", ["11-29 01:00", "11-29 02:00", "11-29 03:00"]),
        ("@weekly", ["12-06 00:00", "12-13 00:00", "12-20 00:00"]),
    ],
)
def test_times_are_those_of_cron(line, expected):
    assert times(line, "2026-11-29 00:00:00", 3) == expected


def test_a_day_where_the_clock_goes_forward_or_back_has_each_time_once():
    daily = times("30 2 * * *", "2026-03-27 12:00", 4, "Europe/Berlin")
    assert daily[0] == "03-28 01:30"
    assert daily[-1] == "03-31 00:30"
    assert len({time.split()[0] for time in daily}) == 4
    autumn = times("30 2 * * *", "2026-10-23 12:00", 4, "Europe/Berlin")
    assert len({time.split()[0] for time in autumn}) == 4
    hourly = times("0 * * * *", "2026-10-24 22:30", 5, "Europe/Berlin")
    assert hourly == [f"10-2{4 + (h >= 24)} {h % 24:02}:00" for h in range(23, 28)]


@pytest.mark.parametrize(
    ("line", "now", "expected"),
    [
        ("0 3 * * *", "2026-11-29 03:00", "2026-11-29 03:00"),
        ("0 3 * * *", "2026-11-29 02:59:59", "2026-11-28 03:00"),
        ("* 3 * * *", "2026-11-29 12:00", "2026-11-29 03:59"),
        ("0 0 29 2 *", "2026-11-29 00:00", "2024-02-29 00:00"),
        ("0 0 29 2 *", "2103-11-29 00:00", "2096-02-29 00:00"),
        ("*/5 * * * *", "2026-11-29 12:34:56", "2026-11-29 12:30"),
    ],
)
def test_the_newest_time_is_the_last_that_has_come(line, now, expected):
    assert read_timetable(line).newest(moment(now)) == moment(expected)


@pytest.mark.parametrize("line", ["* * * * *", "7 */3 * * 2", "15 4 1,20 * fri"])
def test_newest_and_following_are_neighbours(line):
    table, now = read_timetable(line), moment("2026-11-29 00:00:30")
    for _ in range(50):
        newest, following = table.newest(now), table.following(now)
        assert newest is not None
        assert following is not None
        assert newest <= now < following
        assert table.following(newest) == following
        now += timedelta(hours=5, minutes=7, seconds=11)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("61 * * * *", r"schedule='61 \* \* \* \*' is no cron line: .*61"),
        ("* 24 * * *", "is no cron line: .*24"),
        ("*/0 * * * *", "is no cron line: "),
        ("* * * * 8", "'8' is no day of the week"),
        ("* * * * */0", "has no step above 0"),
        ("* * * * 5-2", "'5-2' ends before it begins"),
        ("x * * * *", "is no cron line: "),
        ("0 0 31 2 *", "comes at no time: no such month has such a day"),
        ("0 0 31 4,6,9,11 *", "comes at no time"),
        ("0 0 30 feb *", "comes at no time"),
        ("", "has 0 fields, not 5"),
        ("0 3 * *", "has 4 fields, not 5"),
        ("@reboot", "has 1 fields, not 5 .* one of @hourly"),
    ],
)
def test_what_is_no_schedule_is_refused_in_words(folder, line, words):
    with pytest.raises(DescriptionError, match=words) as caught:
        read_timetable(line)
    assert "at $.schedule" in str(caught.value)
    assert refusal(folder, f'schedule = "{line}"\n' + SVD) == str(caught.value)


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_what_is_no_timezone_is_refused_in_words(zone):
    with pytest.raises(DescriptionError, match=r"there is no timezone .* - at \$\.timezone"):
        read_timetable("0 3 * * *", zone)


@pytest.mark.parametrize("jitter", ["-1", "inf", "nan"])
def test_what_is_no_delay_is_refused_in_words(folder, jitter):
    said = refusal(folder, f"jitter = {jitter}\n" + SVD)
    assert (
        said == f"jitter={float(jitter):g} is no number of seconds - at $.jitter. Pass 0 or more."
    )


def test_without_apscheduler_a_sentence_says_how_to_get_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "apscheduler.triggers.cron", None)
    with pytest.raises(StoreError, match=r"needs APScheduler.*pip install 'streamsvd\[schedule\]'"):
        read_timetable("0 3 * * *")


def test_a_run_needs_no_apscheduler_for_a_file_with_a_schedule(folder, monkeypatch):
    monkeypatch.setattr("streamsvd.pipelines.timetable.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "apscheduler.triggers.cron", None)
    assert write(folder, 'schedule = "0 3 * * *"\n' + SVD).timing.schedule == "0 3 * * *"
