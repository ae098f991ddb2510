"""The verb ``top_eigenvectors``: a stored matrix in mixed order, or any iterable of blocks, into a stream."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.checks.numbers import check_integer
from streamsvd.engine.columns import select_columns, with_columns
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.memory import default_budget, parse_bytes
from streamsvd.engine.opening import as_source
from streamsvd.engine.saves import SAVE_SECONDS, try_saves
from streamsvd.errors import SpecError
from streamsvd.protocols import Source
from streamsvd.store.writing.separation import mask_places
from streamsvd.streams.columns import KeptBlocks, columns_of_blocks, restore_columns
from streamsvd.streams.mathematics import StreamOptions
from streamsvd.streams.mathematics.options import OrderMode
from streamsvd.streams.result import TopEigenvectorsResult
from streamsvd.streams.run import BlocksRun, StoredRun, StreamRun, StreamSaves


def top_eigenvectors(
    A: Any,
    k: int = 1,
    *,
    order: OrderMode = "auto",
    memory: int | float | str | None = None,
    passes: int = 1,
    n_rows: int | None = None,
    mask: Any = None,
    width: int | None = None,
    heavy_rows: int = 64,
    delta: float = 0.05,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    replay: bool = True,
    save_seconds: float = SAVE_SECONDS,
    callback: Callback = ignore_event,
) -> TopEigenvectorsResult:
    """Leading eigenvectors of ``A* A`` from one pass over the rows, in memory that does not grow with them.

    Parameters
    ----------
    A
        A matrix as `svd` takes it (path, zarr or numpy or dask array, anything with ``read``); or an iterable of blocks of
        rows ``(r, n)``: a list, a generator, a consumer of messages. Real numbers.
    k
        Eigenvectors wanted.
    order
        ``"auto"`` (default): chunks of a stored matrix are read in random order and their rows mixed as far as the
        memory allows; whether rows come as if in random order is measured, and decides what is claimed. ``"random"``:
        rows lie, or come, in random order already. ``"arbitrary"``: nothing is assumed; Frequent Directions and, for one
        vector, Oja's rule.
    memory
        Bytes this process may use above its imports, or a text such as ``"256MiB"``; half of what is free if left out.
    passes
        Further passes make the vectors exact (2 or 3 are usually enough); an iterable must then be one that can be
        gone through again.
    n_rows
        Rows of an iterable, if known: better windows, and a tenth of them to judge the answer.
    mask
        Columns to keep, as in `streamsvd.svd`; the others are not looked at, and NaN in the components; with blocks, an array of booleans.
    width, heavy_rows
        Columns iterated (``k + max(10, k)``), the knob of accuracy; rows of large norm that are kept as they are.
    delta
        Failure probability of the statistical claims.
    seed
        Of all random numbers; the same seed and blocks of rows give the same bits, however they are cut.
    checkpoint
        Folder, or URL of an object store, where the state is saved now and then, so that a run that was killed goes
        on from there. It is removed at the end.
    replay
        Whether an iterable begins with its first row again after a kill; False if it goes on where it was.
    save_seconds
        Least time between two saves.
    callback
        Receives events.

    Returns
    -------
    result
        Components ``(k, n)``, values, what the test of the order found, certificate.

    Raises
    ------
    BudgetError
        If the memory does not hold the least state and one block; it names the smallest that works.
    ShapeError, SpecError, NonFiniteError
        If rows change their width, are complex, hold NaN or Inf, or there are none; if an option cannot be meant.
    ConflictError
        If another run saves to the same checkpoint.

    Warns
    -----
    OrderWarning
        If ``order="random"`` was said and the rows do not look like it.

    Notes
    -----
    Cost: one pass a ``passes``; about ``4 n (b + k) + 12 n l + 4 n s`` flops a row, b, l, s the width, twice that, and 16.
    Memory: `streamsvd.streams.mathematics.options.state_bytes`, whatever the number of rows.

    References
    ----------
    Kacham, Woodruff (2024), random order and heavy rows; Price, Xun (2024), arbitrary order; Ghashami, Liberty,
    Phillips, Woodruff (2016), Frequent Directions.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((5000, 20)); A[:, 3] *= 5
    >>> result = streamsvd.top_eigenvectors(A, seed=1)
    >>> int(np.argmax(np.abs(result.components[0]))), result.order.random
    (3, True)
    """
    passes = check_integer("passes", passes)
    if passes < 1:
        raise SpecError(f"passes={passes} leaves nothing to do. Pass at least 1.")
    n_rows = None if n_rows is None else check_integer("n_rows", n_rows)
    options = StreamOptions(
        k=k, order=order, width=width, heavy_rows=heavy_rows, delta=delta, seed=seed
    )
    budget = default_budget() if memory is None else parse_bytes(memory)
    A = as_source(A) if is_matrix(A) else A
    try_saves(checkpoint, A, mask_places(A, mask))
    saves = None if checkpoint is None else StreamSaves(checkpoint, save_seconds)
    if is_matrix(A):
        if n_rows is not None:
            raise SpecError(
                "n_rows= is known of a matrix. Leave it out, or pass an iterable of blocks."
            )
        view = select_columns(A, mask, tolerant=False, notify=callback)
        run: StreamRun = StoredRun(view.source, options, budget, saves, callback)
        with view.naming():
            result = run.result(passes)
            found = replace(result, info=with_columns(result.info, view))
        return replace(found, components=view.spread(found.components))
    else:
        if passes > 1 and iter(A) is A:
            raise SpecError(
                f"passes={passes} was asked of an iterable that can be gone through once only. Pass a list, or an object "
                "whose iter() begins anew, or passes=1."
            )
        columns = None if mask is None else columns_of_blocks(mask)
        blocks = A if columns is None else KeptBlocks(A, columns)
        run = BlocksRun(blocks, options, budget, saves, callback, n_rows, replay)
        found = run.result(passes)
        return found if columns is None else restore_columns(found, columns)


def is_matrix(A: Any) -> bool:
    """Whether it is a matrix, or the address of one, rather than an iterable of blocks."""
    if isinstance(A, str | Path | np.ndarray | Source):
        return True
    return hasattr(A, "shape") or not hasattr(A, "__iter__")
