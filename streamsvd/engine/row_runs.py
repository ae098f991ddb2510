"""Passes that look at each entry of some rows once: of a sparse matrix at those that are stored, a run of rows at a time.

Runs and spans depend on the matrix alone, so that sums are the same bits on any number of threads and on any scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import numpy as np
from scipy import sparse

from streamsvd.engine.concurrency import concurrency
from streamsvd.engine.layout import SPANS, Layout, index_bytes, span_limit, with_stored_entries
from streamsvd.engine.machines import is_on_cluster
from streamsvd.engine.memory import BASE_BYTES
from streamsvd.engine.schedule import MOST_SPANS, SPAN_BLOCKS, Schedule, schedule_rows
from streamsvd.errors import BudgetError
from streamsvd.protocols import Source, SparseSource, is_sparse

RUN_ENTRIES = 1 << 19
"""Entries of a run, about: what is made of them stays in a few tens of mebibytes."""
RUN_ROWS = 1 << 16
"""Rows of a run, at most."""


def schedule_row_runs(
    source: Source,
    allowed: int,
    *,
    work: Callable[[int, int], int],
    shared: int = 0,
    partial: int = 0,
    entries: int = RUN_ENTRIES,
    most_rows: int = RUN_ROWS,
    most: int = MOST_SPANS,
    what: str,
    remedy: str = "",
) -> Schedule:
    """As many tasks at once as the memory allows; rows that are compressed are read without their zeros.

    Parameters
    ----------
    source, allowed
        The matrix, and bytes.
    work
        Bytes that a task takes beside reading, of the entries and the rows in a run.
    shared, partial
        Bytes that there are once, not in each task; and of what a task hands back, as it waits to be joined.
    entries, most_rows
        Of a run, at most, where a row has no more.
    most
        Most spans, but of huge matrices.
    what, remedy
        For the message: what needs the memory, and what to pass instead of more of it.

    Raises
    ------
    BudgetError
        If not even one task fits; it names the least memory that works.
    """
    m, n = source.shape
    if not has_compressed_rows(source):
        height = max(1, min(most_rows, entries // n))
        return schedule_rows(
            source, height, allowed, work=lambda rows: work(rows * n, rows), shared=shared, partial=partial, most=most,
            what=what, remedy=remedy,
        )  # fmt: skip
    found = cast(SparseSource, source)
    rows = min(m, most_rows)
    while rows > 1 and found.most_entries(rows) > entries:
        rows = -(-rows // 2)
    runs = -(-m // rows)
    parts = min(runs, SPANS, most) if runs <= SPANS * SPAN_BLOCKS else runs // SPAN_BLOCKS
    parts = min(parts, span_limit(most, found.stored_bytes, partial))
    edges = [min(m, rows * round(i * runs / parts)) for i in range(parts + 1)]
    spans = tuple((a, b) for a, b in pairwise(edges) if a < b)
    layout = with_stored_entries(Layout("rows", m, n, 1, rows, rows, spans), found)
    count, threads, tried = found.most_entries(rows), concurrency()[1], []
    panel = count * (source.dtype.itemsize + index_bytes(found)) + 8 * rows
    fewest = threads if is_on_cluster() else 1
    waiting = len(spans).bit_length() if len(spans) > 1 else 0
    for workers in range(min(threads, len(spans)), min(fewest, len(spans)) - 1, -1):
        for prefetch in (True, False):
            one = found.sparse_bytes(count) + (2 if prefetch else 1) * panel + work(count, rows)
            tasks = BASE_BYTES + workers * (one + partial) + waiting * partial
            if shared + tasks <= allowed:
                return Schedule(source, layout, workers, prefetch, shared + tasks, tasks)
            tried.append(shared + tasks)
    least = min(tried)
    raise BudgetError(
        f"{what} from {source.name}", least, allowed, f"Pass memory={least} or more{remedy}."
    )


def has_compressed_rows(source: Source) -> bool:
    """Whether rows are read without their zeros."""
    return is_sparse(source) and cast(SparseSource, source).sparse_axis == "rows"


def as_compressed_rows(rows: Any) -> Any:
    """Rows of a block on the host as a ``csr_array``, without their zeros; numbers of half precision become single, which scipy takes."""
    if sparse.issparse(rows):
        return rows
    return sparse.csr_array(rows.astype(np.float32) if rows.dtype == np.float16 else rows)
