from __future__ import annotations

import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.cli import progress
from streamsvd.engine.events import (
    CertificateUpdated,
    PassDone,
    PassStarted,
    ResultWritten,
    SpanDone,
)

GB = 10**9
EVENTS = [
    PassStarted(1, "products, moments and probes", GB),
    SpanDone(1, 1, 4),
    SpanDone(1, 4, 4),
    PassDone(1, "products, moments and probes", 2.0, None),
    CertificateUpdated(1, 3e-2),
    PassStarted(2, "products and probes", GB),
    SpanDone(2, 2, 4),
    PassDone(2, "products and probes", 1.5, 3e-2),
    CertificateUpdated(2, 5e-3),
    PassStarted(3, "products and probes", GB),
    PassDone(3, "products and probes", 1.5, 5e-3),
    CertificateUpdated(3, 3e-4),
    ResultWritten("M.zarr"),
]


def test_the_number_of_passes_is_planned_and_then_follows_the_run() -> None:
    tally = progress.Tally(expected_bytes=int(2.2 * GB))
    seen = []
    for event in EVENTS:
        tally.take(event)
        if isinstance(event, PassStarted):
            seen.append((tally.number, tally.passes))
    assert seen == [(1, 2), (2, 2), (3, 3)]
    assert tally.result_path == "M.zarr"
    assert tally.width == 3e-4


def test_time_left_is_the_rest_of_this_pass_and_the_passes_to_come(monkeypatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    tally = progress.Tally(expected_bytes=2 * GB)
    tally.take(EVENTS[0])
    assert tally.seconds_left is None
    clock[0] += 5
    tally.take(EVENTS[1])  # a quarter in five seconds
    assert tally.rate == pytest.approx(GB / 20)
    assert tally.seconds_left == pytest.approx(15 + 20)


def test_lines_tell_begin_end_width_and_place(capsys) -> None:
    with progress.Lines(int(2.2 * GB)) as watch:
        for event in EVENTS:
            watch(event)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "streamsvd: pass 1 of about 2: products, moments and probes, 1 GB",
        "streamsvd: pass 1 took 2 s",
        "streamsvd: after pass 1 every interval is within 0.03",
        "streamsvd: pass 2 of about 2: products and probes, 1 GB",
        "streamsvd: pass 2 took 1.5 s",
        "streamsvd: after pass 2 every interval is within 0.005",
        "streamsvd: pass 3 of about 3: products and probes, 1 GB",
        "streamsvd: pass 3 took 1.5 s",
        "streamsvd: after pass 3 every interval is within 0.0003",
        "streamsvd: written to M.zarr",
    ]


PREPARING = [
    PassStarted(1, "counts of rows", GB // 20, is_preparing=True),
    SpanDone(1, 1, 2),
    PassDone(1, "counts of rows", 0.5, None),
]


def test_a_pass_that_prepares_is_none_of_those_that_are_planned(capsys, monkeypatch) -> None:
    for expected in (None, 3):
        watch = progress.Lines(int(2.2 * GB))
        watch.tally.expected_passes = expected
        for event in (*PREPARING, *EVENTS[:1]):
            watch(event)
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "streamsvd: pass 1: counts of rows, 0.05 GB"
        about = expected or 2
        assert (
            lines[-1] == f"streamsvd: pass 1 of about {about}: products, moments and probes, 1 GB"
        )
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    tally = progress.Tally(expected_bytes=2 * GB)
    tally.take(PREPARING[0])
    clock[0] += 1
    tally.take(PREPARING[1])  # half of it in a second: the rest of it, and all that is planned
    assert tally.seconds_left == pytest.approx(1 + 2 * GB / (GB / 40))


def test_bars_do_not_guess_what_follows_a_pass_that_prepares(capsys) -> None:
    pytest.importorskip("rich")
    with progress.Bars(int(2.2 * GB)) as watch:
        for event in (*PREPARING, *EVENTS):
            watch(event)
    err = capsys.readouterr().err
    assert "pass 1/44" not in err
    assert "pass 1/2" in err
    assert any("✓ pass 1 " in line for line in err.splitlines())


def test_counts_for_steps_and_means_of_rows_prepare() -> None:
    seen = []
    counts = np.random.default_rng(0).poisson(1.0, (60, 8)).astype(float)
    streamsvd.svd(
        streamsvd.apply_steps(counts, ["tfidf"], callback=seen.append), 2, callback=seen.append
    )
    labels = np.arange(60) % 4
    streamsvd.anomalies(counts, labels, callback=seen.append)
    begun = [event for event in seen if isinstance(event, PassStarted)]
    assert {e.purpose for e in begun if e.is_preparing} == {"counts of rows", "means of rows"}
    assert len({e.purpose for e in begun if not e.is_preparing}) > 0


def test_long_passes_are_heard_of_in_between(capsys, monkeypatch) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    with progress.Lines(int(2.2 * GB)) as watch:
        for event in EVENTS[:3]:
            watch(event)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("streamsvd: pass 1: 25%, ")
    assert lines[1].endswith(" s left")


def test_bars_show_every_pass(capsys) -> None:
    pytest.importorskip("rich")
    with progress.Bars(int(2.2 * GB)) as watch:
        for event in EVENTS:
            watch(event)
    out, err = capsys.readouterr()
    assert out == ""
    for name in ("pass 1/2", "pass 2/2", "pass 3/3"):
        assert name in err
    for number, within in (("pass 2/2", "3.0e-02"), ("pass 3/3", "5.0e-03")):
        line = next(line for line in err.splitlines() if f"✓ {number}" in line)
        assert f"within {within}" in line  # what was known when the pass began


def test_bars_stop_cleanly_when_interrupted(capsys) -> None:
    pytest.importorskip("rich")

    def stopped() -> None:
        with progress.Bars(GB) as watch:
            watch(EVENTS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert "pass 1/1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quiet", "tty", "rich", "kind"),
    [
        (True, True, True, progress.Silence),
        (False, False, True, progress.Lines),
        (False, True, False, progress.Lines),
        (False, True, True, progress.Bars),
    ],
)
def test_who_is_told_how(monkeypatch, quiet, tty, rich, kind) -> None:
    if kind is progress.Bars:
        pytest.importorskip("rich")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: tty, raising=False)
    monkeypatch.setattr(progress, "find_spec", lambda name: object() if rich else None)
    assert isinstance(progress.watching(GB, quiet=quiet), kind)
