"""A few chunks drawn at random over the whole matrix: pilot mean and scale, magnitude, and a start.

In-memory iterations on the sample cost no pass, and give a block from which one pass is worth two or three.
Chunks are drawn over the whole grid because rows in storage order drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import linalg

from streamsvd.engine.allocator import held_memory
from streamsvd.engine.blas import one_thread
from streamsvd.engine.device import NumpyBackend
from streamsvd.engine.layout import Layout
from streamsvd.engine.memory import PILOT_ITEMS
from streamsvd.engine.reader import read_part
from streamsvd.engine.task import NONFINITE_REMEDY
from streamsvd.engine.threads import ThreadPool
from streamsvd.errors import NonFiniteError, StreamSVDError, remedy_of
from streamsvd.numerics import products
from streamsvd.numerics import sketches as sketch
from streamsvd.numerics.blocks import BlockPreparer, Preparation
from streamsvd.numerics.sparse_rows import SparseRows, with_values
from streamsvd.numerics.support import Support
from streamsvd.options import Policy
from streamsvd.protocols import Source, SparseSource
from streamsvd.typing import Matrix, Real

ITERATIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class ChunkSample:
    """Rows (along columns: columns) of the matrix, as stored, run by run.

    Attributes
    ----------
    runs
        First index of each run and its data: a dense array, or what is stored of the run as a ``csr_array``.
    bytes_read
        Decoded bytes that reading them cost: whole chunks, also where a part of one was wanted.
    """

    runs: tuple[tuple[int, Any], ...]
    bytes_read: int


@dataclass(frozen=True, slots=True, eq=False)
class Pilot:
    """What the sample says of the whole: column means and deviations, holes, and the power of two.

    Attributes
    ----------
    mean, deviation
        Of each column over the sampled rows, ``(n,)``.
    holes
        Columns in which a sampled entry is NaN, ``(n,)`` of bool.
    alpha
        Power of two that brings the largest sampled deviation from the mean near one; 1 where it is
        within a factor of a million of it.
    """

    mean: Matrix
    deviation: Real
    holes: npt.NDArray[np.bool_]
    alpha: float


def draw_sample(
    source: Source, layout: Layout, rows: int, *, counted: Support, seed: int, threads: int = 1
) -> ChunkSample:
    """Read about ``rows`` of the streamed axis, in whole grains where at least one fits.

    What does not count is 0, and grains of which nothing counts are not drawn where others can be.
    """
    rng = sketch.generator(seed, "sample")
    run = min(layout.grain, max(rows, 1))
    # Whole runs only, where there are enough, so that the plan knows the bytes before they are drawn.
    starts: Sequence[int] = range(0, max(layout.length - run + 1, 1), layout.grain)
    along = counted.rows if layout.axis == "rows" else counted.columns
    if along is not None:
        starts = [start for start in starts if along[start : start + run].any()] or starts
    count = min(max(1, round(rows / run)), len(starts))
    chosen = np.sort(rng.permutation(len(starts))[:count])

    if layout.stored is not None:
        return _draw_stored(source, layout, [starts[int(i)] for i in chosen], run, threads)

    def room(index: int) -> npt.NDArray[Any]:
        start = starts[index]
        shape = (min(start + run, layout.length) - start, layout.width)
        return np.empty(shape if layout.axis == "rows" else shape[::-1], dtype=source.dtype)

    def read(index: int, out: npt.NDArray[Any]) -> tuple[int, npt.NDArray[Any]]:
        start = starts[index]
        part = slice(start, min(start + run, layout.length))
        read_part(source, layout.axis, part, slice(0, layout.width), out)
        counted.within(*_corner(layout, start), out.shape).blank(out)
        return start, out

    # Made before memory is held, so that the system has it back as soon as nobody needs the sample.
    rooms = [room(int(index)) for index in chosen]
    with held_memory(), ThreadPool(threads) as pool:
        runs = tuple(pool.map(read, (int(index) for index in chosen), rooms))
    ends = ((start, min(start + run, layout.length)) for start, _ in runs)
    stored = sum(layout.decoded_rows(start, stop) for start, stop in ends)
    return ChunkSample(runs, stored * layout.width * source.dtype.itemsize)


def _draw_stored(
    source: Source, layout: Layout, starts: list[int], run: int, threads: int
) -> ChunkSample:
    """Runs that are read without their zeros."""
    found = cast(SparseSource, source)

    def read(start: int) -> tuple[int, Any]:
        return start, found.read_sparse(slice(start, min(start + run, layout.length)))

    with ThreadPool(threads) as pool:
        runs = tuple(pool.map(read, starts))
    each = found.stored_bytes / max(1, found.entries)
    return ChunkSample(runs, int(each * sum(int(rows.nnz) for _, rows in runs)))


def make_pilot(
    sample: ChunkSample,
    source: Source,
    layout: Layout,
    *,
    policy: Policy,
    moments: bool,
    counted: Support,
) -> Pilot:
    """Magnitude of the sample, and where asked the moments of its columns over rows that count (rows streamed).

    Raises
    ------
    NonFiniteError
        If the sample holds an Inf, or a NaN that the policy does not allow.
    """
    if layout.stored is not None:
        return _stored_pilot(
            sample, source, layout, policy=policy, moments=moments, counted=counted
        )
    largest, clean = 0.0, True
    for start, data in _parts(sample, layout):
        size = float(np.abs(data).max()) if source.dtype.kind == "c" else _largest(data)
        if not np.isfinite(size):
            clean = False
            _check_finite(data, start, source, policy)
            size = float(np.nanmax(np.abs(data), initial=0.0))
        largest = max(largest, size)
    alpha = _power_of_sample(largest, source)
    width = layout.width
    if layout.axis == "columns" or not (moments or not clean):
        nothing = np.zeros(width)
        return Pilot(nothing, nothing, np.zeros(width, dtype=bool), alpha)
    kind = "complex128" if source.dtype.kind == "c" else "float64"
    count, total = np.zeros(width), np.zeros(width, dtype=kind)
    rows = 0
    for block in _blocks(sample, layout, kind, counted):
        rows += block.shape[0]
        block *= alpha
        count += np.sum(~np.isnan(block), axis=0) if not clean else block.shape[0]
        total += np.nansum(block, axis=0) if not clean else block.sum(axis=0)
    mean = total / np.maximum(count, 1)
    squares = np.zeros(width)
    for block in _blocks(sample, layout, kind, counted):
        centred = np.abs(block * alpha - mean)
        squares += np.nansum(centred * centred, axis=0)
    mean /= alpha
    deviation = np.sqrt(squares / np.maximum(count, 1)) / alpha
    return Pilot(mean, deviation, count < rows, alpha)


def _power_of_sample(largest: float, source: Source) -> float:
    """The power of two for a matrix with entries of that size.

    Raises
    ------
    StreamSVDError
        If none will do.
    """
    if largest > 1e300:
        raise StreamSVDError(
            f"{source.name} has entries of size {largest:g}; its singular values may exceed the range of float64. "
            "Divide it by a power of two."
        )
    return power_of_two(largest, source.dtype)


def _stored_pilot(
    sample: ChunkSample,
    source: Source,
    layout: Layout,
    *,
    policy: Policy,
    moments: bool,
    counted: Support,
) -> Pilot:
    """The same of runs without their zeros."""
    along_rows = layout.axis == "rows"
    runs = [(start, _counted_entries(rows, start, layout, counted)) for start, rows in sample.runs]
    largest, clean = 0.0, True
    for start, rows in runs:
        values = rows.data
        size = float(np.abs(values).max(initial=0.0))
        if not np.isfinite(size):
            clean = False
            _check_stored(rows, start, source, policy, along_rows)
            size = float(np.nanmax(np.abs(values), initial=0.0))
        largest = max(largest, size)
    alpha = _power_of_sample(largest, source)
    width = layout.width
    if not along_rows or not (moments or not clean):
        nothing = np.zeros(width)
        return Pilot(nothing, nothing, np.zeros(width, dtype=bool), alpha)
    kind = "complex128" if source.dtype.kind == "c" else "float64"
    total, squares = np.zeros(width, dtype=kind), np.zeros(width)
    missing, count = np.zeros(width), 0
    for start, rows in runs:
        there = counted.within(start, 0, rows.shape).rows
        count += rows.shape[0] if there is None else int(np.count_nonzero(there))
        values = rows.data.astype(kind) * alpha
        holes = np.isnan(values)
        if holes.any():
            missing += np.bincount(rows.indices[holes], minlength=width)
            values[holes] = 0
        weight = np.ones(rows.shape[0])
        total += with_values(rows, values).T @ weight
        squares += with_values(rows, np.abs(values) ** 2).T @ weight
    present = np.maximum(count - missing, 1)
    mean = total / present
    deviation = np.sqrt(np.maximum(squares / present - np.abs(mean) ** 2, 0.0))
    return Pilot(mean / alpha, deviation / alpha, missing > 0, alpha)


def _counted_entries(rows: Any, start: int, layout: Layout, counted: Support) -> Any:
    """The run with 0 where nothing counts."""
    if counted.whole:
        return rows
    mine, other = counted.rows, counted.columns
    if layout.axis == "columns":
        mine, other = other, mine
    values = rows.data
    if mine is not None:
        there = np.repeat(mine[start : start + rows.shape[0]], np.diff(rows.indptr))
        values = np.where(there, values, values.dtype.type(0))
    if other is not None:
        values = np.where(other[rows.indices], values, values.dtype.type(0))
    return with_values(rows, values)


def _check_stored(rows: Any, start: int, source: Source, policy: Policy, along_rows: bool) -> None:
    values = rows.data
    bad = np.isinf(values) if policy != "raise" else ~np.isfinite(values)
    if not bad.any():
        return
    at = int(np.argmax(bad))
    line = start + int(np.searchsorted(rows.indptr, at, side="right")) - 1
    row, column = (line, int(rows.indices[at])) if along_rows else (int(rows.indices[at]), line)
    value = "NaN" if np.isnan(values[at]) else "Inf"
    raise NonFiniteError(
        value, row, column, source.locate(row, column), remedy_of(value, NONFINITE_REMEDY)
    )


def _largest(data: npt.NDArray[Any]) -> float:
    """Largest modulus, without a copy; NaN or Inf if there is one."""
    return max(abs(float(data.max())), abs(float(data.min())))


def _blocks(sample: ChunkSample, layout: Layout, kind: str, counted: Support) -> Iterator[Matrix]:
    """Parts of the sample as copies of another type, rows that count alone."""
    for first, data in _parts(sample, layout):
        there = counted.within(*first, data.shape).rows
        yield (data if there is None else data[there]).astype(kind)


def _corner(layout: Layout, start: int) -> tuple[int, int]:
    """First row and column of a run of the streamed axis."""
    return (start, 0) if layout.axis == "rows" else (0, start)


def _parts(
    sample: ChunkSample, layout: Layout
) -> Iterator[tuple[tuple[int, int], npt.NDArray[Any]]]:
    """A few rows of the matrix at a time, so that copies are small beside the sample, each with its first entry."""
    for start, data in sample.runs:
        step = max(1, PILOT_ITEMS // data.shape[1])
        for a in range(0, data.shape[0], step):
            first = (start + a, 0) if layout.axis == "rows" else (a, start)
            yield first, data[a : a + step]


def power_of_two(size: float, dtype: np.dtype[Any]) -> float:
    """Factor that brings ``size`` near one and that the type holds; 1 where it is within a million already."""
    if not 0 < size < np.inf or 1e-6 <= size <= 1e6:
        return 1.0
    largest = 120 if dtype.itemsize <= (8 if dtype.kind == "c" else 4) else 1000
    return float(2.0 ** -np.clip(np.round(np.log2(size)), -largest, largest))


def _check_finite(
    data: npt.NDArray[Any], first: tuple[int, int], source: Source, policy: Policy
) -> None:
    bad = np.isinf(data) if policy != "raise" else ~np.isfinite(data)
    if not bad.any():
        return
    i, j = (int(x) for x in np.unravel_index(int(np.argmax(bad)), bad.shape))
    row, column = first[0] + i, first[1] + j
    value = "NaN" if np.isnan(data[i, j]) else "Inf"
    raise NonFiniteError(
        value, row, column, source.locate(row, column), remedy_of(value, NONFINITE_REMEDY)
    )


@dataclass(frozen=True, slots=True, eq=False)
class StartBlock:
    """A start block from the sample, and the sample's own view of the spectrum."""

    Q: Matrix
    theta: Real


def _store_in_place(block: Matrix, place: npt.NDArray[Any]) -> Matrix:
    """A block, in the place of what it was made of where its entries are as large."""
    if block.dtype.itemsize != place.dtype.itemsize or np.may_share_memory(block, place):
        return block
    there: Matrix = place.view(block.dtype)
    there[...] = block
    return there


def _normal_product(block: tuple[Any, Any], *, thin: Matrix) -> Matrix:
    """``X* diag(weights) X`` times a thin block."""
    X, weights = block
    if isinstance(X, SparseRows):
        out = np.zeros(thin.shape, dtype=np.result_type(thin.dtype, np.float64))
        X.add_backward(out, X.forward(thin), weights)
        return out
    return np.asarray(products.backward(X, products.forward(X, thin), weights))


def start_block(
    sample: ChunkSample,
    layout: Layout,
    prep: Preparation,
    thin_scale: Real,
    width: int,
    *,
    seed: int,
    threads: int = 1,
) -> StartBlock:
    """Subspace iteration on the sampled rows, in memory: in that of the sample, whose values are lost.

    Parameters
    ----------
    sample, layout
        The rows, and how the passes cut them: a block is prepared at a time.
    prep
        How they are prepared, as in the passes that follow.
    thin_scale
        Scale of each column, applied to the thin blocks, ``(n,)``.
    width
        Columns of the block, l.
    seed
        Of the Gaussian block it begins from.
    threads
        Blocks multiplied at once; their products are added in the order of the blocks, so bits do not vary.

    Notes
    -----
    Cost: ``4 r n l`` flops an iteration for ``r`` rows; no pass.
    """
    reader = BlockPreparer(prep, NumpyBackend(), False, False)
    n = layout.width
    blocks = []
    for first, data in sample.runs:
        if layout.stored is not None:
            for a, b in layout.blocks(first, first + data.shape[0]):
                block = reader.prepare(data[a - first : b - first], a, slice(0, n))
                blocks.append((block.narrow, block.weights))
            continue
        rows = data if prep.axis == "rows" else data.T
        for a, b in layout.blocks(first, first + rows.shape[0]):
            part = rows[a - first : b - first]
            block = reader.prepare(part if prep.axis == "rows" else part.T, a, slice(0, n))
            blocks.append((_store_in_place(block.narrow, part), block.weights))
    Q = sketch.gaussian(n, width, seed=seed, purpose="start", complex_=prep.complex_)
    theta = np.zeros(width)
    scale = thin_scale
    with ThreadPool(threads) as pool, one_thread():
        for _ in range(ITERATIONS):
            Q = linalg.qr(Q * (scale != 0)[:, None], mode="economic", check_finite=False)[0]
            multiply = partial(_normal_product, thin=(Q * scale[:, None]).astype(prep.narrow))
            W = np.zeros_like(Q)
            for at in range(0, len(blocks), threads):
                for product in pool.map(multiply, blocks[at : at + threads]):
                    W += product
            W *= scale[:, None]
            theta = np.linalg.eigvalsh(Q.conj().T @ W)[::-1]
            Q = W
    if not np.any(Q):
        Q = sketch.gaussian(n, width, seed=seed, purpose="start", complex_=prep.complex_)
    Q = linalg.qr(Q * (scale != 0)[:, None], mode="economic", check_finite=False)[0]
    return StartBlock(Q, np.maximum(theta, 0.0))
