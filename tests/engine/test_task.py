"""A task reads every stored entry of its span once, in panels, and adds it up from zero."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamsvd.engine import task as task_module
from streamsvd.engine.layout import cut_axis
from streamsvd.engine.reader import MatrixReader
from streamsvd.engine.task import RunCancelled, Work, run_span
from streamsvd.errors import NonFiniteError, ScaleError
from streamsvd.factor.passes import NormalPass, ProjectPass, ThinBlock
from streamsvd.numerics.blocks import Preparation


class Recorded:
    """A matrix in memory that remembers what was read of it, and by which thread."""

    name = "recorded"
    read_bytes = 0

    def __init__(self, A: Any, chunks: tuple[int, int]) -> None:
        self.A, self.chunks = A, chunks
        self.seen: list[tuple[slice, slice]] = []
        self.threads: set[str] = set()

    shape = property(lambda self: self.A.shape)
    dtype = property(lambda self: self.A.dtype)
    nbytes = property(lambda self: self.A.nbytes)

    def read(self, rows: slice, columns: slice, out: Any, /) -> None:
        self.seen.append((rows, columns))
        self.threads.add(threading.current_thread().name)
        assert out.flags.c_contiguous
        assert out.dtype == self.dtype
        out[...] = self.A[rows, columns]

    def locate(self, row: int, column: int, /) -> str:
        return f"chunk ({row // self.chunks[0]}, {column // self.chunks[1]})"

    def counts(self) -> Any:
        seen = np.zeros(self.shape, dtype=int)
        for rows, columns in self.seen:
            seen[rows, columns] += 1
        return seen


class Rows:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.written: dict[int, Any] = {}

    def write(self, start: int, rows: Any, /) -> None:
        self.written[start] = rows


M, N, K = 90, 14, 3


@pytest.fixture
def A() -> Any:
    return np.random.default_rng(0).standard_normal((M, N))


def work(source: Any, layout: Any, *, prefetch: bool = False, fold: Any = None) -> Work[Any]:
    Q = np.random.default_rng(1).standard_normal((layout.width, K))
    fold = fold or NormalPass(
        Preparation(layout.axis), (ThinBlock(Q, False),), moments=layout.axis == "rows"
    )
    return Work(MatrixReader(source, layout, prefetch), fold, "cpu", "run")


def layouts(axis: str = "rows") -> list[Any]:
    length, width = (M, N) if axis == "rows" else (N, M)
    base = cut_axis(axis, length, width, 7, items=3 * width, spans=4)
    half = base.unit * -(-base.grain // (2 * base.unit))
    return [base, replace(base, panel=3 * base.grain), replace(base, panel=half)]


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("prefetch", [False, True])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_spans_read_each_entry_once_and_give_the_same_bits_for_every_panel(
    A, axis, prefetch, which
):
    layout, base = layouts(axis)[which], layouts(axis)[0]
    source = Recorded(A, (7, 5))
    total = [run_span(work(source, layout, prefetch=prefetch), s) for s in layout.spans]
    assert (source.counts() == 1).all()
    plain = [run_span(work(Recorded(A, (7, 5)), base), s) for s in base.spans]
    for one, other in zip(total, plain, strict=True):
        np.testing.assert_array_equal(one.products[0], other.products[0])
    X = A if axis == "rows" else A.T
    Q = work(source, layout).pass_.thin[0].X
    np.testing.assert_allclose(sum(s.products[0] for s in total), X.T @ (X @ Q), rtol=1e-12)


def test_reading_ahead_happens_in_one_other_thread(A):
    source = Recorded(A, (7, 5))
    run_span(work(source, layouts()[0], prefetch=True), (0, M))
    assert len(source.threads) == 1
    assert next(iter(source.threads)).startswith("streamsvd-read")


@pytest.mark.parametrize("two_sided", [True, False])
def test_tiles_read_each_entry_twice_and_once_for_a_projection(A, two_sided):
    layout = replace(cut_axis("rows", M, N, 10, items=10 * N, spans=3), tile=5)
    source = Recorded(A, (10, 5))
    Z = np.random.default_rng(1).standard_normal((N, K))
    fold: Any = NormalPass(Preparation("rows"), (ThinBlock(Z, False),), moments=True)
    if not two_sided:
        fold = ProjectPass(
            Preparation("rows"), ThinBlock(Z, False), np.zeros(K), np.ones(K), "float64"
        )
    sums = [run_span(work(source, layout, fold=fold), s) for s in layout.spans]
    assert (source.counts() == (2 if two_sided else 1)).all()
    assert max(c.stop - c.start for _, c in source.seen) <= 5
    if two_sided:
        np.testing.assert_allclose(sum(s.products[0] for s in sums), A.T @ (A @ Z), rtol=1e-12)
    else:
        rows = np.concatenate([r for s in sums for _, r in s.pieces])
        np.testing.assert_allclose(rows, A @ Z, rtol=1e-12)


@pytest.mark.parametrize(("tile", "chunk"), [(None, 10), (5, 10), (None, 30)])
def test_a_sink_takes_the_rows_in_runs_that_start_where_panels_do(A, tile, chunk):
    """Also where a panel has several blocks: a chunk that is written in parts is read again for each."""
    layout = replace(cut_axis("rows", M, N, chunk, items=10 * N, spans=3), tile=tile)
    assert (layout.unit < layout.panel) == (chunk > 10)
    Z = np.random.default_rng(1).standard_normal((N, K))
    fold = ProjectPass(Preparation("rows"), ThinBlock(Z, False), np.zeros(K), np.ones(K), "float64")
    sink = Rows()
    for span in layout.spans:
        sums = run_span(replace(work(Recorded(A, (chunk, 5)), layout, fold=fold), sink=sink), span)
        assert sums.pieces == ()
    assert sorted(sink.written) == [a for s in layout.spans for a, _ in layout.panels(s)]
    np.testing.assert_allclose(
        np.concatenate([sink.written[a] for a in sorted(sink.written)]),
        A @ Z,
        rtol=1e-12,
    )


def test_a_span_run_twice_gives_the_same_bits(A):
    job = work(Recorded(A, (7, 5)), layouts()[0])
    one, two = run_span(job, (0, 21)), run_span(job, (0, 21))
    np.testing.assert_array_equal(one.products[0], two.products[0])
    assert one.moments is not None
    assert two.moments is not None
    assert one.moments.energy == two.moments.energy


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_bad_entry_is_named_with_its_chunk_and_what_to_do(A, axis, value):
    A[52, 11] = value
    fold = NormalPass(
        Preparation(axis),
        (ThinBlock(np.ones((N if axis == "rows" else M, 1)), False),),
        moments=True,
    )
    layout = layouts(axis)[0]
    with pytest.raises(NonFiniteError) as caught:
        for span in layout.spans:
            run_span(work(Recorded(A, (7, 5)), layout, fold=fold), span)
    error = caught.value
    assert (error.row, error.column) == (52, 11)
    word, words = ("NaN", "Pass nonfinite=") if np.isnan(value) else ("Inf", "Mend it where")
    assert str(error).startswith(f"{word} at row 52, column 11 (chunk (7, 2)). {words}")


def test_a_bad_entry_in_a_tile_is_named_by_its_place_in_the_matrix(A):
    A[52, 11] = np.nan
    layout = replace(cut_axis("rows", M, N, 10, items=10 * N, spans=3), tile=5)
    with pytest.raises(NonFiniteError, match=r"NaN at row 52, column 11 \(chunk \(5, 2\)\)"):
        for span in layout.spans:
            run_span(work(Recorded(A, (10, 5)), layout), span)


def test_entries_that_overflow_tell_their_size_to_the_drivers(A):
    A[52, 11] = 1e200
    with pytest.raises(ScaleError, match=r"an entry of size 1e\+200 is too large"):
        run_span(work(Recorded(A, (7, 5)), layouts()[0]), (0, M))


def test_a_task_of_an_interrupted_run_reads_nothing(A, monkeypatch):
    monkeypatch.setattr(task_module, "cancelled_runs", {"run"})
    source = Recorded(A, (7, 5))
    with pytest.raises(RunCancelled, match="interrupted"):
        run_span(work(source, layouts()[0]), (0, M))
    assert source.seen == []


@pytest.mark.parametrize("prefetch", [False, True])
def test_an_error_of_the_store_reaches_the_caller(A, prefetch):
    class Broken(Recorded):
        def read(self, rows: slice, columns: slice, out: Any, /) -> None:
            if rows.start >= 40:
                raise OSError(5, "Input/output error")
            super().read(rows, columns, out)

    with pytest.raises(OSError, match="Input/output error"):
        run_span(work(Broken(A, (7, 5)), layouts()[0], prefetch=prefetch), (0, M))
