"""The verb ``top_eigenvectors``: a stored matrix in mixed order, or any iterable of blocks, into a stream."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamsvd.engine.columns import (
    View,
    over_columns_with_values,
    plan_over_columns,
    with_columns,
)
from streamsvd.engine.events import Callback, ignore_event
from streamsvd.engine.missing import check_policy
from streamsvd.engine.opening import as_source
from streamsvd.engine.run_plan import RunPlan
from streamsvd.engine.saves import SAVE_SECONDS, check_saves, try_saves
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import OrderWarning, SpecError
from streamsvd.protocols import Source
from streamsvd.store.writing.separation import mask_places
from streamsvd.streams.blocks import BlockFilter
from streamsvd.streams.mathematics import state_bytes
from streamsvd.streams.options import OrderMode, TopEigenvectorsOptions
from streamsvd.streams.planning import plan_reading, projected_bytes
from streamsvd.streams.result import TopEigenvectorsResult, order_caution
from streamsvd.streams.run import BlocksRun, StoredRun, check_source


def top_eigenvectors(
    A: Any,
    k: int = 1,
    *,
    order: OrderMode = "auto",
    memory: int | float | str | None = None,
    passes: int = 1,
    n_rows: int | None = None,
    mask: Any = None,
    nonfinite: str = "raise",
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
    nonfinite
        What a NaN is: ``"raise"``, an error that names it; ``"zero"``; of a stored matrix also ``"mean"`` of its column, or
        ``"drop_columns"``, which leaves out the columns that have any; these two take one more pass, before the others. Inf is
        always an error.
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
    StoreError
        If the checkpoint cannot be written, or what was saved there cannot be read.

    Warns
    -----
    OrderWarning
        If ``order="random"`` was said and the rows do not look like it.

    Notes
    -----
    Cost: one pass a ``passes``; about ``4 n (b + k) + 12 n l + 4 n s`` flops a row, b, l, s the width, twice that, and 16.
    Memory: `streamsvd.streams.mathematics.space.state_bytes`, whatever the number of rows. What a stream remembers depends on the
    order of its rows: threads, or the workers of a cluster, read and check what comes next, and this process takes it in. Further
    passes are sums, which they make.

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
    options = TopEigenvectorsOptions(
        k=k,
        order=order,
        passes=passes,
        n_rows=n_rows,
        width=width,
        heavy_rows=heavy_rows,
        delta=delta,
        seed=seed,
    )
    A, budget = as_source(A) if is_matrix(A) else A, allowed_bytes(memory)
    check_policy(nonfinite)
    try_saves(checkpoint, A, mask_places(A, mask))
    if is_matrix(A):
        found = _of_matrix(
            A, options, mask=mask, nonfinite=nonfinite, memory=budget, checkpoint=checkpoint, save_seconds=save_seconds,
            callback=callback,
        )  # fmt: skip
    else:
        if options.passes > 1 and iter(A) is A:
            raise SpecError(
                f"passes={passes} was asked of an iterable that can be gone through once only. Pass a list, or an object "
                "whose iter() begins anew, or passes=1."
            )
        filter_ = BlockFilter.of(mask, nonfinite)
        run = BlocksRun(
            A, filter_, options, budget, replay=replay, place=checkpoint, seconds=save_seconds, notify=callback
        )  # fmt: skip
        found = filter_.put_back(run.result())
    if order == "random" and found.order.random is False:
        warnings.warn(order_caution(found.order), OrderWarning, stacklevel=2)
    return found


def _put_back(found: TopEigenvectorsResult, view: View) -> TopEigenvectorsResult:
    return replace(
        found, components=view.spread(found.components), info=with_columns(found.info, view)
    )


@over_columns_with_values(_put_back)
def _of_matrix(
    A: Source,
    options: TopEigenvectorsOptions,
    *,
    mask: Any = None,
    nonfinite: str,
    memory: int,
    checkpoint: str | os.PathLike[str] | None,
    save_seconds: float,
    callback: Callback,
) -> TopEigenvectorsResult:
    """Of a stored matrix, which has the columns that are kept, and no NaN under a policy that fills it."""
    del mask
    return StoredRun(
        A, options, memory, nonfinite=nonfinite, place=checkpoint, seconds=save_seconds, notify=callback
    ).result()  # fmt: skip


def plan_top_eigenvectors(
    A: Any,
    k: int = 1,
    *,
    order: OrderMode = "auto",
    memory: int | float | str | None = None,
    passes: int = 1,
    n_rows: int | None = None,
    mask: Any = None,
    nonfinite: str = "raise",
    width: int | None = None,
    heavy_rows: int = 64,
    delta: float = 0.05,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
) -> RunPlan:
    """What `top_eigenvectors` will read and need of a stored matrix, from shapes alone.

    Parameters
    ----------
    A
        A matrix as `svd` takes it; blocks that come one after another have no shape to plan with.
    k, order, memory, passes, n_rows, mask, nonfinite, width, heavy_rows, delta, seed, checkpoint
        As of `top_eigenvectors`; nothing is written.

    Returns
    -------
    plan
        Passes, bytes and memory, and what of the stream the memory allows.

    Raises
    ------
    SpecError, BudgetError
        As `top_eigenvectors`, before anything is read.
    """
    options = TopEigenvectorsOptions(
        k=k,
        order=order,
        passes=passes,
        n_rows=n_rows,
        width=width,
        heavy_rows=heavy_rows,
        delta=delta,
        seed=seed,
    )
    if not is_matrix(A):
        raise SpecError(
            f"a {type(A).__name__} of blocks was passed, whose size is known when they have come: nothing can be planned. Pass a "
            "matrix, such as the path of one."
        )
    source = as_source(A)
    check_saves(checkpoint, source, mask_places(source, mask))
    return _plan_of_matrix(
        source, options, mask=mask, nonfinite=nonfinite, memory=allowed_bytes(memory)
    )


@plan_over_columns
def _plan_of_matrix(
    source: Source,
    options: TopEigenvectorsOptions,
    *,
    mask: Any = None,
    nonfinite: str,
    memory: int,
) -> RunPlan:
    """Of a matrix that is as the run will be given it."""
    del mask, nonfinite
    check_source(source, options)
    reader, fitted = plan_reading(source, options.stream, memory, passes=options.passes)
    n = source.shape[1]
    mixed = (
        f"chunks in random order, the rows of {reader.mix_count} mixed"
        if reader.mix_count
        else "rows in the order in which they lie"
    )
    bound = state_bytes(fitted, n)
    notes = [f"{mixed}; a state of at most {bound:,} bytes, however many rows"]
    if fitted != options.stream:
        notes.append(
            f"the memory leaves {fitted.columns} columns iterated, {fitted.rows} rows of the sketch, {fitted.heavy_rows} heavy "
            f"rows and {fitted.probes} probes"
        )
    return RunPlan(
        verb="top_eigenvectors",
        source=source.name,
        options=options,
        passes=options.passes,
        pass_bytes=reader.pass_bytes,
        workers=1,
        spans=reader.n_windows,
        projected_bytes=projected_bytes(fitted, n) + reader.bytes_needed,
        budget_bytes=memory,
        notes=tuple(notes),
        cached_passes=options.passes - 1 if reader.is_cached else 0,
        task_bytes=reader.worker_bytes,
        home_bytes=reader.pass_bytes,
        spans_are_tasks=True,
    )


def is_matrix(A: Any) -> bool:
    """Whether it is a matrix, or the address of one, rather than an iterable of blocks."""
    if isinstance(A, str | Path | np.ndarray | Source):
        return True
    return hasattr(A, "shape") or not hasattr(A, "__iter__")
