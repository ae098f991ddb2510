"""Rows of a window: all of them once, in an order that neither threads nor reading ahead change."""

from __future__ import annotations

import dask
import numpy as np
import pytest

import streamsvd
from streamsvd.engine.task import HomeTask, RunCancelled, cancelled_runs
from streamsvd.errors import NonFiniteError
from streamsvd.streams.window_reader import WindowReader

TASK = HomeTask("test of windows")


def rows_of(reader, begin=0):
    return [np.concatenate([p.copy() for p in pieces]) for _, pieces in reader.windows(TASK, begin)]


@pytest.fixture
def A():
    return np.arange(1_030.0)[:, None] * np.ones(3)


@pytest.mark.parametrize("unit", [7, 64, 100, 5_000])
@pytest.mark.parametrize("mixed", [0, 1, 5])
def test_every_row_comes_once_in_one_order(A, unit, mixed):
    source = streamsvd.open(A)
    readers = [WindowReader(source, unit, mixed, ahead, 3) for ahead in (False, True)]
    one, other = (rows_of(reader) for reader in readers)
    with dask.config.set(num_workers=7):
        third = rows_of(readers[1])
    assert len(one) == readers[0].n_windows
    come = np.concatenate(one)
    np.testing.assert_array_equal(come, np.concatenate(other))
    np.testing.assert_array_equal(come, np.concatenate(third))
    np.testing.assert_array_equal(np.sort(come[:, 0]), A[:, 0])
    if not mixed:
        np.testing.assert_array_equal(come, A)
    elif unit < len(A):
        assert (np.diff(come[:, 0]) < 0).any()


def test_a_later_window_is_what_it_was(A):
    reader = WindowReader(streamsvd.open(A), 64, 4, True, 3)
    whole, rest = rows_of(reader), rows_of(reader, 2)
    assert len(rest) == len(whole) - 2
    for one, other in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one, other)
    left = sum(map(len, rest)) / len(A)
    assert reader.bytes_from(2) == (int(reader.pass_bytes * left), 0)


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("mixed", [0, 16])
def test_the_first_bad_entry_of_a_window_is_named(A, ahead, mixed):
    A[[900, 300, 301], 1] = np.nan
    reader = WindowReader(streamsvd.open(A), 10, mixed, ahead, 3)
    bad = [
        sorted(a for a, b in g for bad in (300, 301, 900) if a <= bad < b) for g in reader._groups()
    ]
    first = next(window[0] for window in bad if window)  # in the order in which windows come
    with pytest.raises(NonFiniteError, match=f"NaN at row {first}, column 1"):
        rows_of(reader)
    copied = np.concatenate(rows_of(WindowReader(reader.source, 10, mixed, ahead, 3, False)))
    assert np.isnan(copied).sum() == 3


@pytest.mark.parametrize("ahead", [False, True])
def test_a_cancelled_run_reads_no_further(A, ahead):
    reader, task = WindowReader(streamsvd.open(A), 10, 2, ahead, 0), HomeTask("to be cancelled")
    windows = reader.windows(task)
    next(windows)
    cancelled_runs.add(task.run)
    try:
        with pytest.raises(RunCancelled):
            for _ in windows:
                pass
    finally:
        cancelled_runs.discard(task.run)
