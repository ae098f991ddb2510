"""The verb ``embed``: node embeddings by powers of a graph's transitions times a very sparse random projection (FastRP).

``N_1 = D^-1 A L R``, ``N_i = D^-1 A N_(i-1)``, and the embedding is ``sum_i alpha_i N_i``. Columns of R are independent, so that as
many of them as the memory holds are taken at once, to the same bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.engine.budget import allowed_bytes
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.opening import as_source
from streamsvd.engine.run import Run, in_run
from streamsvd.engine.run_plan import RunPlan
from streamsvd.errors import SpecError
from streamsvd.graphs.mathematics import (
    add_weighted,
    degree_factors,
    has_norms,
    projected_rows,
    row_maxima,
    square_norms,
)
from streamsvd.graphs.mathematics.powers import ROWS_AT_ONCE
from streamsvd.graphs.options import WEIGHTS, EmbedOptions, Precision, Step
from streamsvd.graphs.passes import DegreePass, StepPass
from streamsvd.graphs.places import KeptVectors, WrittenVectors
from streamsvd.graphs.planning import plan_of, schedule_embedding
from streamsvd.graphs.result import Embedding
from streamsvd.protocols import Source
from streamsvd.store.sources.labels import source_labels
from streamsvd.typing import Matrix, Real


def embed(
    A: Any,
    dim: int = 128,
    *,
    step_weights: tuple[float, ...] = WEIGHTS,
    beta: float = -0.5,
    step: Step = "transition",
    normalize: bool = False,
    sparsity: float | None = None,
    precision: Precision = "single",
    seed: int = 0,
    memory: int | float | str | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    callback: Callback = ignore_event,
) -> Embedding:
    """Embed the nodes of a graph that does not fit in memory, by random projection of where steps along its edges lead.

    Parameters
    ----------
    A
        Square adjacency matrix, ``(n, n)``, weights of 0 or more: a sparse matrix that is compressed along its rows, as scipy has
        it or AnnData writes it, or a dense one. An undirected graph has each edge twice. An edge leads from its row to its column.
    dim
        Numbers of each node, ``d``.
    step_weights
        ``alpha_i``, how much the end of i steps counts.
    beta
        Power of degrees, from -1 to 0, by which nodes of many edges count less: columns are weighted by ``(d_j / sum d)^beta``.
    step
        ``"transition"``, ``D^-1 A``; or ``"adjacency"``, ``A``.
    normalize
        Divide rows of each ``N_i`` by their norms before they are added up.
    sparsity
        ``s``: one of s random entries is not 0; the root of n if left out.
    precision
        Of the embedding: float32 or float64. Sums are in it, of long rows in float64; degrees always in float64.
    seed
        Of the random projection: it, the row and the column decide an entry.
    memory
        Bytes this process may use above its imports; half of what is free if left out.
    out
        Where the embedding is written as it comes, a folder that `streamsvd.load` opens; kept in memory if left out.
    overwrite
        Replace a result at ``out`` once the new one is whole.
    callback
        Receives events.

    Returns
    -------
    Embedding
        The same bits however many columns fit, on any number of threads, and on a cluster.

    Raises
    ------
    ShapeError
        If the matrix is not square.
    SpecError
        If an option cannot be meant, a weight is negative, or numbers leave the type.
    NonFiniteError
        If a weight is NaN or Inf; it names row and column.
    BudgetError
        If not even one column fits; it names the smallest memory that works.
    StoreError
        If ``out`` exists and may not be replaced, or cannot be written.

    Notes
    -----
    Cost: one read of the graph for degrees, and for every run of columns one for each step up to the last of weight not 0; with
    ``normalize`` twice as many where columns do not fit at once. ``2 Z d`` flops a step for Z stored entries. Memory:
    ``2 n w`` numbers, w columns at once, and as many of ``n w`` that are summed up, or ``n d`` where the embedding is kept.

    References
    ----------
    Chen, Sultan, Tian, Chen, Skiena (2019), Fast and Accurate Network Embeddings via Very Sparse Random Projection, CIKM,
    Algorithm 1; Li, Hastie, Church (2006). The columns of the sum are not standardised.

    Examples
    --------
    >>> import numpy as np, scipy.sparse, streamsvd
    >>> ring = scipy.sparse.diags_array([1.0, 1.0], offsets=[1, -1], shape=(50, 50)).tocsr()
    >>> found = streamsvd.embed(ring, dim=8)
    >>> found.vectors.shape, found.info.passes
    ((50, 8), 5.0)
    """
    source, budget = as_source(A), allowed_bytes(memory)
    options = EmbedOptions(
        dim=dim, step_weights=step_weights, beta=beta, step=step, normalize=normalize, sparsity=sparsity, precision=precision, seed=seed
    )  # fmt: skip
    schedule = schedule_embedding(source, options, budget, written=out is not None)
    n = source.shape[0]
    if options.sparsity is None:
        options = replace(options, sparsity=max(1.0, float(np.sqrt(n))))
    run = Run(
        schedule.reader, schedule.workers, "cpu", schedule.projected_bytes, schedule.task_bytes, callback, seed=options.seed
    )  # fmt: skip
    kept: KeptVectors | WrittenVectors = (
        KeptVectors(n, options)
        if out is None
        else WrittenVectors(out, source, options, schedule.width, overwrite=overwrite)
    )
    slabs = [
        slice(a, min(a + schedule.width, options.dim))
        for a in range(0, options.dim, schedule.width)
    ]
    try:
        with in_run(run):
            degrees = np.empty(n)
            run(DegreePass(source), "degrees").fill(degrees)
            _add_steps(run, source, degrees, options, slabs, kept)
        found = Embedding(
            vectors=kept.vectors,
            isolated=int(np.count_nonzero(degrees == 0)),
            slabs=len(slabs),
            options=options,
            info=run.info(),
            labels=source_labels(source).of_columns,
        )
        return kept.finish(found, callback)
    except BaseException:
        kept.discard()
        raise


def plan_embed(
    A: Any,
    dim: int = 128,
    *,
    step_weights: tuple[float, ...] = WEIGHTS,
    beta: float = -0.5,
    step: Step = "transition",
    normalize: bool = False,
    sparsity: float | None = None,
    precision: Precision = "single",
    seed: int = 0,
    memory: int | float | str | None = None,
    out: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `embed` will read and need, from shapes alone.

    Parameters
    ----------
    A, dim, step_weights, beta, step, normalize, sparsity, precision, seed, memory, out
        As of `embed`; nothing is written.

    Raises
    ------
    ShapeError, SpecError, BudgetError
        As `embed`, before anything is read.
    """
    source, budget = as_source(A), allowed_bytes(memory)
    options = EmbedOptions(
        dim=dim, step_weights=step_weights, beta=beta, step=step, normalize=normalize, sparsity=sparsity, precision=precision, seed=seed
    )  # fmt: skip
    schedule = schedule_embedding(source, options, budget, written=out is not None)
    return plan_of("embed", schedule, options, budget)


def _add_steps(
    run: Run,
    source: Source,
    degrees: Real,
    options: EmbedOptions,
    slabs: list[slice],
    kept: KeptVectors | WrittenVectors,
) -> None:
    """The embedding, some columns at a time; where rows are divided by their norms, and these need all columns, norms first."""
    squares = np.zeros((options.powers, degrees.size)) if options.normalize else None
    if squares is not None and len(slabs) > 1:
        for columns in slabs:
            for i, X in _steps(run, source, degrees, options, columns):
                with np.errstate(over="ignore", under="ignore"):
                    square_norms(X, squares[i])
    for columns in slabs:
        total = kept.begin(columns)
        for i, X in _steps(run, source, degrees, options, columns):
            if squares is not None and len(slabs) == 1:
                with np.errstate(over="ignore", under="ignore"):
                    square_norms(X, squares[i])
            if options.step_weights[i]:
                norms = None if squares is None else squares[i]
                if norms is not None and not has_norms(X, norms):
                    raise SpecError(
                        f"norms of the rows of step {i + 1} leave the range of float64. Pass normalize=False, "
                        'step="transition", fewer steps, or the weights multiplied by one number.'
                    )
                with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                    add_weighted(total, X, options.step_weights[i], norms)
        if not np.isfinite(total).all():
            raise SpecError(
                f"the sum of steps leaves the range of {options.dtype}. Pass smaller step_weights, "
                'step="transition", or precision="double".'
            )
        kept.end(columns, total)


def _steps(
    run: Run, source: Source, degrees: Real, options: EmbedOptions, columns: slice
) -> Iterator[tuple[int, Matrix]]:
    """Number, from 0, and some columns of each ``N_i``; the memory of one is used again for the next."""
    X = _start(degrees, options, columns)
    divides = options.step == "transition"
    for i in range(options.powers):
        purpose = f"step {i + 1} of {options.powers}, columns {columns.start} to {columns.stop - 1}"
        largest = None if divides else row_maxima(X)
        run(StepPass(source, X, degrees, divides, largest), purpose).fill(X)
        yield i, X


def _start(degrees: Real, options: EmbedOptions, columns: slice) -> Matrix:
    """Some columns of ``L R``.

    Raises
    ------
    SpecError
        If a number leaves the type.
    """
    assert options.sparsity is not None
    X = np.empty((degrees.size, columns.stop - columns.start), dtype=options.dtype)
    factors = degree_factors(degrees, options.beta)
    for a in range(0, degrees.size, ROWS_AT_ONCE):
        part = slice(a, min(a + ROWS_AT_ONCE, degrees.size))
        with np.errstate(over="ignore"):
            X[part] = projected_rows(
                factors[part], a, columns, seed=options.seed, sparsity=options.sparsity
            )
        if not np.isfinite(X[part]).all():
            raise SpecError(
                f"degrees to the power beta={options.beta} leave the range of {options.dtype}. Pass a beta nearer to 0, or "
                'precision="double".'
            )
    return X
