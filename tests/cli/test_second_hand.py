"""A consolidated copy that is out of date is one line on stderr, and stdout is that of the array itself."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

B = np.random.default_rng(0).standard_normal((300, 12))


@pytest.fixture
def stale(tmp_path):
    group = zarr.open_group(tmp_path / "A.zarr", mode="w", zarr_format=2)
    array = group.create_array("x", shape=(200, 12), chunks=(50, 12), dtype="f8")
    array[...] = B[:200]
    zarr.consolidate_metadata(tmp_path / "A.zarr")
    array.append(B[200:])
    return tmp_path / "A.zarr"


@pytest.mark.parametrize(
    "words",
    [
        ("info",),
        ("plan", "--rank", 3),
        ("svd", "--rank", 3, "--quiet"),
        ("pca", "--rank", 3),
        ("sample", "--size", 40, "--out", "S"),
        ("top", "--k", 2, "--order", "arbitrary"),
        ("rates", "--errors", "0.1"),
    ],
)
def test_it_is_said_once(run, stale, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = run(words[0], stale, *words[1:], "--json")
    assert done.code == 0, done.err
    assert done.err.count("are out of date") == 1
    assert done.record
    assert str(stale) in done.err


def test_update_takes_the_rows_that_are_there(run, stale, tmp_path):
    assert run("update", tmp_path / "m", stale, "--rank", 5, "--json").record["absorbed"] == 300
    again = run("update", tmp_path / "m", stale, "--json")
    assert again.record["absorbed"] == 0
    assert again.err.count("are out of date") == 1
