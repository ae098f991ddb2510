"""Rows in random order on disk: each once, every order as likely, within the memory, whole or not at all."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.engine.run import Run
from streamsvd.engine.task import HomeTask
from streamsvd.streams import shuffle as module
from streamsvd.streams.window_reader import WindowReader


@pytest.mark.parametrize("dtype", ["float32", "int16", "complex64"])
@pytest.mark.parametrize(
    ("shape", "chunks"), [((1000, 7), (64, 7)), ((333, 20), (50, 6)), ((5, 3), (100, 100))]
)
def test_every_row_is_there_once(tmp_path, shape, chunks, dtype):
    A = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
    A[:, 0] = np.arange(len(A))
    source = zarr.create_array(tmp_path / "a.zarr", shape=shape, chunks=chunks, dtype=dtype)
    source[...] = A
    path = streamsvd.shuffle(tmp_path / "a.zarr", tmp_path / "b.zarr", seed=5)
    B = zarr.open_array(path)
    assert (B.shape, B.dtype) == (A.shape, A.dtype)
    assert B.chunks == tuple(min(c, s) for c, s in zip(chunks, shape, strict=True))
    found = B[...]
    order = np.lexsort(found.T[::-1]), np.lexsort(A.T[::-1])
    np.testing.assert_array_equal(found[order[0]], A[order[1]])
    if len(A) > 10:
        assert (found != A).any()
    again = streamsvd.shuffle(A, tmp_path / "c.zarr", seed=5)
    if chunks[0] >= shape[0]:
        np.testing.assert_array_equal(zarr.open_array(again)[...], found)


def test_little_memory_takes_many_buckets_and_is_kept(tmp_path):
    A = np.random.default_rng(0).standard_normal((60_000, 100))
    zarr.create_array(tmp_path / "a.zarr", shape=A.shape, chunks=(500, 100), dtype="f8")[...] = A
    source = streamsvd.open(tmp_path / "a.zarr")
    assert module._plan_buckets(source, 1 << 30).buckets == 1
    assert module._plan_buckets(source, 50 << 20).buckets >= 8
    path = streamsvd.shuffle(source, tmp_path / "b.zarr", memory=50 << 20)
    np.testing.assert_array_equal(np.sort(zarr.open_array(path)[:, 3]), np.sort(A[:, 3]))
    with pytest.raises(streamsvd.BudgetError, match="smallest budget that works"):
        streamsvd.shuffle(source, tmp_path / "c.zarr", memory="1MiB")


class Held:
    """Buckets in memory."""

    def __init__(self):
        self.held = {}

    def put(self, name, data):
        self.held[name] = bytes(data)

    def take(self, prefix):
        return (self.held[name] for name in sorted(self.held) if name.startswith(prefix + "/"))

    def remove(self, prefix):
        self.held = {n: data for n, data in self.held.items() if not n.startswith(prefix + "/")}


class Rows:
    """Rows as they are written, each once."""

    def __init__(self, count):
        self.out = np.full(count, -1.0)

    def write(self, start, rows):
        assert (self.out[start : start + len(rows)] == -1).all()
        self.out[start : start + len(rows)] = rows[:, 0]


def orders(count, buckets):
    """How often each order of few rows comes, by way of the scatter and the gather themselves."""
    reader = WindowReader(streamsvd.open(np.arange(4.0)[:, None]), 2, 0, False, 0)
    found = dict.fromkeys(permutations(range(4)), 0)
    cut = module.ShuffleCut(reader, buckets, 1, 1, 1, 0, 0)
    for seed in range(count):
        run, held, rows = Run(reader.matrix_reader, seed=seed), Held(), Rows(4)
        module._gather(run, cut, module._scatter(run, cut, held, rows), held, rows, 3)
        assert not held.held
        found[tuple(rows.out.astype(int))] += 1
    return np.array(list(found.values()))


@pytest.mark.parametrize("buckets", [1, 2, 4])
def test_every_order_is_as_likely(buckets, monkeypatch):
    monkeypatch.setattr(module, "run_in_order", lambda f, of, items, **_: (f(of, i) for i in items))
    count = 1500
    counts = orders(count, buckets)
    chi2 = float(np.sum((counts - count / 24) ** 2) / (count / 24))
    assert chi2 / 23 < 2.1  # one in a thousand


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    A = np.ones((4, 3))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("keep")
    streamsvd.shuffle(A, tmp_path / "b.zarr")
    with pytest.raises(streamsvd.StoreError, match="exists already"):
        streamsvd.shuffle(A, tmp_path / "b.zarr")
    with pytest.raises(streamsvd.StoreError, match="no zarr array"):
        streamsvd.shuffle(A, tmp_path / "notes", overwrite=True)
    streamsvd.shuffle(2 * A, tmp_path / "b.zarr", overwrite=True)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "b.zarr")[...], 2 * A)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zarr", "notes"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    def callback(event):
        if type(event).__name__ == "SpanDone" and event.number == 2:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        streamsvd.shuffle(np.ones((40, 3)), tmp_path / "b.zarr", callback=callback)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("chunk", "mixed", "rows"), [(100, 4, 50), (100, 16, 50), (100, 16, 200)])
def test_the_design_effect_of_mixing_is_that_of_the_formula(chunk, mixed, rows):
    """``1 + rho (m / W) (1 - W / C)`` for means of m rows, W chunks mixed, C in all, rho = 1."""
    count = 256
    value = np.random.default_rng(0).standard_normal(count)
    A = np.repeat(value, chunk)[:, None]
    effects = []
    for seed in range(6):
        reader = WindowReader(streamsvd.open(A), chunk, mixed, False, seed)
        windows = reader.windows(HomeTask("test"))
        come = np.concatenate([p for _, pieces in windows for p in pieces])[:, 0]
        assert come.size == A.size
        means = come[: come.size // rows * rows].reshape(-1, rows).mean(axis=1)
        effects.append(means.var() * rows / value.var())
    expected = 1 + (rows / mixed) * (1 - mixed / count)
    assert 0.75 * expected <= np.mean(effects) <= 1.25 * expected
