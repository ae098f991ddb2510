"""A result of anomalies keeps its climatology: rows that come later lose the same, by their times or by labels."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import streamsvd


def write(path, start: str, stop: str, seed: int, names=("time", "lat")) -> np.ndarray:
    times = np.arange(start, stop, dtype="M8[M]").astype("M8[ns]")
    x = np.random.default_rng(seed).standard_normal((times.size, 5))
    x += 10 * np.sin(np.arange(times.size) * np.pi / 6)[:, None]
    xr.Dataset({"t": (names, x)}, coords={"time": times}).to_zarr(path, consolidated=False)
    return x


@pytest.fixture
def fields(tmp_path):
    old = write(tmp_path / "old.zarr", "2000-01", "2006-01", 0)
    new = write(tmp_path / "new.zarr", "2006-04", "2007-02", 1)
    return (
        streamsvd.open(tmp_path / "old.zarr", rows="time"), old,
        streamsvd.open(tmp_path / "new.zarr", rows="time"), new,
    )  # fmt: skip


@pytest.mark.parametrize("trend", [False, True])
def test_rows_that_come_later_lose_what_was_found_before(fields, tmp_path, trend):
    A, old, B, new = fields
    months = np.arange(72) % 12
    G = np.eye(12)[months]
    design = np.c_[G, np.arange(72.0)] if trend else G
    t = A.neighbour("time").values.astype(float)
    if trend:
        design[:, -1] = t
    coef = np.linalg.lstsq(design, old, rcond=None)[0]
    later = np.eye(12)[(np.arange(10) + 3) % 12]
    if trend:
        unit = xr.open_zarr(tmp_path / "new.zarr", consolidated=False).time
        base = xr.open_zarr(tmp_path / "old.zarr", consolidated=False).time
        days = (unit.values - base.values[0]) / np.timedelta64(1, "D")
        since = (base.values - base.values[0]) / np.timedelta64(1, "D")
        design[:, -1] = since
        coef = np.linalg.lstsq(design, old, rcond=None)[0]
        later = np.c_[later, days]
    expected = new - later @ coef
    r = streamsvd.pca(streamsvd.anomalies(A, detrend=trend), 3, u=True)
    r.save(tmp_path / "r")
    assert r.climatology.fit.level.shape == (12, 5)
    for result in (r, streamsvd.load(tmp_path / "r")):
        np.testing.assert_allclose(result.transform(A), r.U * r.s, atol=1e-9)
        scores = result.transform(B)
        np.testing.assert_allclose(scores, (expected - r.mean) @ r.Vh.T, atol=1e-9)
        same = streamsvd.anomalies(B, like=result)
        np.testing.assert_array_equal(result.transform(same), scores)
    out = np.empty((10, 5))
    streamsvd.anomalies(B, like=streamsvd.anomalies(A, detrend=trend)).read(
        slice(0, 10), slice(0, 5), out
    )
    np.testing.assert_allclose(out, expected, atol=1e-9)


def test_labels_of_the_caller_are_asked_for_again(fields):
    A, old, B, new = fields
    groups = np.arange(72) % 12
    r = streamsvd.svd(streamsvd.anomalies(A, by=groups), 2)
    with pytest.raises(streamsvd.SpecError, match=r"labels were an array.*like=result"):
        r.transform(B)
    later = (np.arange(10) + 3) % 12
    means = np.stack([old[groups == g].mean(axis=0) for g in range(12)])
    found = r.transform(streamsvd.anomalies(B, by=later, like=r))
    np.testing.assert_allclose(found, (new - means[later]) @ r.Vh.T, atol=1e-9)


def test_like_is_something_without_its_means(fields):
    A, _, B, _ = fields
    with pytest.raises(streamsvd.SpecError, match="like= is no matrix without its means"):
        streamsvd.anomalies(B, like=A)
    anomalies = streamsvd.anomalies(A)
    with pytest.raises(streamsvd.SpecError, match="like= says how rows are grouped"):
        streamsvd.anomalies(B, "season", like=anomalies)
    summer = streamsvd.anomalies(A, reference=np.isin(np.arange(72) % 12, range(12)))
    assert streamsvd.anomalies(B, like=summer).shape == (10, 5)


def test_rows_without_times_are_refused(fields):
    A, _, _, new = fields
    r = streamsvd.svd(streamsvd.anomalies(A), 2)
    with pytest.raises(streamsvd.SpecError, match="times of rows are the coordinate"):
        r.transform(new)
