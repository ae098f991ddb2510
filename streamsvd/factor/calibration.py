"""Speeds of this machine and this source, measured for the cost model in about two seconds.

Every rate is that of one core while all cores that a plan uses are busy, because that is what the plan
divides by; products are timed in the very folds, blocks and types that its passes will use.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from scipy import linalg, sparse

from streamsvd.engine.allocator import PanelBuffer, held_memory
from streamsvd.engine.blas import dense_threads, one_thread
from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.device import NumpyBackend
from streamsvd.engine.layout import index_bytes, row_entries
from streamsvd.engine.passes import Block, Pass
from streamsvd.engine.reader import read_part
from streamsvd.engine.threads import ThreadPool
from streamsvd.factor.candidates import GRAM_COLUMNS, Speeds
from streamsvd.factor.passes import GramPass, NormalPass, PassSums, ThinBlock
from streamsvd.factor.plan import Plan
from streamsvd.numerics import krylov
from streamsvd.numerics.blocks import Preparation
from streamsvd.numerics.bracket import bracket_eigenvalues
from streamsvd.protocols import Source, SparseSource

SECONDS = 0.25
"""Time given to each rate."""

MEASURED_WITH_PRODUCTS = 1e15
"""Rate of preparing blocks: products are timed with it, so that alone it counts for nothing."""

READ_SECONDS = 0.6
DENSE_COLUMNS = 4096
"""Most columns of the small dense problem that is timed; larger ones run at the same rate."""

EIGEN_COLUMNS = 1000
"""Most columns of the eigenproblem that is timed."""


def measure_speeds(source: Source, plan: Plan) -> Speeds:
    """Rates for a plan like this one on this machine; reads a few chunks.

    Parameters
    ----------
    source
        The matrix.
    plan
        A plan made with typical rates, for its blocks and threads.

    Returns
    -------
    rates
        To be passed to `plan_svd` as ``rates``.

    Notes
    -----
    Cost: about two seconds, the memory of one pass. Chunks that the system has in its cache are read
    faster than the disk gives them: the read rate is that of the state in which the source is now.
    """
    threads = min(
        concurrency()[1], plan.at_once, os.cpu_count() or 1
    )  # a cluster may be thought of
    typical = Speeds()
    # krylov along the same axis is timed even where Gram is the plan: both are to be compared
    complex_ = source.dtype.kind == "c"
    narrow = source.dtype.itemsize <= (8 if complex_ else 4) and plan.options.precision != "double"
    with held_memory():
        double = _normal_rate(source, plan, threads, single=False)
        single = (
            _normal_rate(source, plan, threads, single=True)
            if narrow
            else (typical.single if plan.layout.stored is None else typical.sparse_single)
        )
        read = _read_rate(source, plan, threads)
        syrk = (
            _gram_rate(source, plan, threads)
            if plan.layout.width <= GRAM_COLUMNS and plan.layout.stored is None
            else typical.syrk
        )
    if plan.layout.stored is not None:
        rates = replace(typical, sparse_single=single, sparse_double=double)
    else:
        rates = replace(typical, single=single, double=double)
    return replace(
        rates,
        read=read,
        syrk=syrk,
        dense=_dense_rate(plan),
        prepare=MEASURED_WITH_PRODUCTS,
    )


def _normal_rate(source: Source, plan: Plan, threads: int, *, single: bool) -> float:
    """Operations a second of a run's passes: the first takes moments and probes in double precision too."""
    loop = 2 if plan.options.width_tol >= 1e-5 else 3
    prep = _preparation(source, plan, single=single)
    rng = np.random.default_rng(0)
    kind = prep.wide
    width = plan.layout.width
    block = rng.standard_normal((width, plan.block)).astype(kind)
    probes = rng.standard_normal((width, max(plan.probes, 1))).astype(kind)
    first: Pass[Any, PassSums] = NormalPass(
        prep, (ThinBlock(block, single), ThinBlock(probes, False)), moments=True
    )
    both = ThinBlock(np.concatenate([block, probes], axis=1), single)
    later: Pass[Any, PassSums] = NormalPass(prep, (both,))
    seconds = [
        1
        / _rate(_block_updates(source, plan, fold), threads, SECONDS / 2 if single else SECONDS / 4)
        for fold in (first, later)
    ]
    each = (seconds[0] + (loop - 1) * seconds[1]) / loop  # of one block
    factor = 4 if source.dtype.kind == "c" else 1
    entries = width if plan.layout.stored is None else row_entries(cast(SparseSource, source))
    return float(4 * factor * plan.layout.unit * entries * both.X.shape[1] / each)


def _gram_rate(source: Source, plan: Plan, threads: int) -> float:
    width = plan.layout.width
    fold: Pass[Any, PassSums] = GramPass(_preparation(source, plan, single=False), width)
    blocks = _rate(_block_updates(source, plan, fold), threads, SECONDS)
    factor = 4 if source.dtype.kind == "c" else 1
    return float(factor * plan.layout.unit * width * width * blocks)


def _preparation(source: Source, plan: Plan, *, single: bool) -> Preparation:
    prep = Preparation(
        plan.layout.axis, single=single, complex_=source.dtype.kind == "c", sparse=plan.layout.stored is not None
    )  # fmt: skip
    if (plan.options.center or plan.options.scale) and plan.layout.axis == "rows":
        prep = replace(prep, pilot=np.zeros(plan.layout.width, dtype=prep.wide))
    return prep


def _block_updates(
    source: Source, plan: Plan, fold: Pass[Any, PassSums]
) -> Callable[[], Callable[[], None]]:
    """Makes, for a thread, a function that absorbs one block into a state of its own."""

    def make() -> Callable[[], None]:
        raw = Block(0, slice(0, plan.layout.width), _block(source, plan))
        state = fold.init(NumpyBackend())

        def update() -> None:
            fold.update(state, raw)

        return update

    return make


def _block(source: Source, plan: Plan) -> Any:
    dtype, rows, width = source.dtype, plan.layout.unit, plan.layout.width
    if plan.layout.stored is not None:  # as full as the matrix is on average
        each = row_entries(cast(SparseSource, source))
        rng = np.random.default_rng(0)
        lines = np.repeat(np.arange(rows), each)
        values = rng.integers(1, 100, rows * each, dtype=np.int8).astype(dtype)
        places = lines, rng.integers(0, width, rows * each, dtype=np.int32)
        return sparse.csr_array((values, places), shape=(rows, width))
    shape = (rows, width) if plan.layout.axis == "rows" else (width, rows)
    # values do not matter to the speed, unless they are denormal or not finite
    return np.random.default_rng(0).integers(1, 100, shape, dtype=np.int8).astype(dtype)


def _read_rate(source: Source, plan: Plan, threads: int) -> float:
    """Decoded bytes a second of panels spread over the matrix, each read once."""
    layout = plan.layout
    run = min(layout.panel, layout.grain)
    if layout.stored is not None:
        return _stored_read_rate(cast(SparseSource, source), plan, threads)
    starts = np.arange(0, layout.length, run)
    order = np.random.default_rng(0).permutation(starts).tolist()
    dtype = source.dtype
    columns = slice(0, layout.tile or layout.width)
    deadline = time.perf_counter() + READ_SECONDS

    def reader(mine: list[int]) -> tuple[int, float]:
        buffer = PanelBuffer(run * columns.stop * dtype.itemsize)
        total, began = 0, time.perf_counter()
        for start in mine:
            stop = min(start + run, layout.length)
            shape = (stop - start, columns.stop)
            out = buffer.array(shape if layout.axis == "rows" else shape[::-1], dtype)
            read_part(source, layout.axis, slice(start, stop), columns, out)
            total += out.nbytes
            if time.perf_counter() > deadline:
                break
        return total, time.perf_counter() - began

    with ThreadPool(threads) as pool:
        found = list(pool.map(reader, [order[i::threads] for i in range(threads)]))
    rates = [total / max(seconds, 1e-6) for total, seconds in found if total]
    return float(np.mean(rates))


def _stored_read_rate(source: SparseSource, plan: Plan, threads: int) -> float:
    """The same of rows that are read without their zeros."""
    layout = plan.layout
    starts = np.arange(0, layout.length, layout.unit)
    order = np.random.default_rng(0).permutation(starts).tolist()
    each = source.dtype.itemsize + index_bytes(source)
    deadline = time.perf_counter() + READ_SECONDS

    def reader(mine: list[int]) -> tuple[int, float]:
        total, began = 0, time.perf_counter()
        for start in mine:
            rows = source.read_sparse(slice(start, min(start + layout.unit, layout.length)))
            total += int(rows.nnz) * each
            if time.perf_counter() > deadline:
                break
        return total, time.perf_counter() - began

    with ThreadPool(threads) as pool:
        found = list(pool.map(reader, [order[i::threads] for i in range(threads)]))
    rates = [total / max(seconds, 1e-6) for total, seconds in found if total]
    return float(np.mean(rates)) if rates else Speeds().read


def _dense_rate(plan: Plan) -> float:
    """Operations a second of the small dense work of the route, counted as the plan counts it."""
    if plan.route == "gram":
        return _eigen_rate(plan)
    width = min(plan.layout.width, DENSE_COLUMNS)
    size = min(2 * plan.block, width)
    rng = np.random.default_rng(0)
    K = np.linalg.qr(rng.standard_normal((width, size)))[0]
    W = K * np.arange(size, 0.0, -1) + 1e-3 * rng.standard_normal((width, size))
    count = max(1, min(plan.rank, size - 1))
    with dense_threads(width):
        began = time.perf_counter()
        ritz = krylov.ritz_of_space(krylov.Space(K, W))
        bracket_eigenvalues(ritz, beta=1e-3, noise=np.full(size, 1e-9), count=count)
        took = time.perf_counter() - began
    return float(12 * width * size**2 / took)


def _eigen_rate(plan: Plan) -> float:
    """The same for the leading eigenvectors of a Gram matrix."""
    width = min(plan.layout.width, EIGEN_COLUMNS)
    X = np.random.default_rng(0).standard_normal((width, width))
    G = X + X.T
    first = max(0, width - 1 - plan.rank)
    with dense_threads(width):
        began = time.perf_counter()
        linalg.eigh(G, subset_by_index=(first, width - 1), check_finite=False)
        took = time.perf_counter() - began
    return float(4 * width**3 / took)


def _rate(make: Callable[[], Callable[[], None]], threads: int, seconds: float) -> float:
    """Calls a second of one thread while all run, after one call to warm up."""
    deadline = 0.0

    def work(call: Callable[[], None]) -> float:
        began, count = time.perf_counter(), 0
        while count == 0 or time.perf_counter() < deadline:
            call()
            count += 1
        return count / (time.perf_counter() - began)

    with ThreadPool(threads) as pool, one_thread():
        calls = list(pool.map(lambda _: make(), range(threads)))
        list(pool.map(lambda call: call(), calls))
        deadline = time.perf_counter() + seconds
        return float(np.mean(list(pool.map(work, calls))))
