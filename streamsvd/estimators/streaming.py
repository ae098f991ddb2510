"""What a function makes of the rows of a stored matrix, in order: one pass, its output in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamsvd.engine.device import Device
from streamsvd.engine.passes import Block
from streamsvd.engine.run import running
from streamsvd.engine.schedule import allowed_bytes, schedule_rows
from streamsvd.protocols import Source
from streamsvd.typing import Matrix

BLOCK_BYTES = 4 << 20
MOST_ROWS = 4096
"""Of a block: it depends on the number of columns alone, so that bits depend on nothing else."""

Pieces = tuple[Matrix, ...]


@dataclass(slots=True, eq=False)
class RowsState:
    """What was made of the rows of a span so far."""

    device: Device
    rows: list[Matrix] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class RowsPass:
    """Rows of a function of rows, each of the others independent.

    Attributes
    ----------
    function
        From rows ``(p, n)`` to rows ``(p, ...)``; picklable. It writes into none.
    dtype
        Of what comes back.
    is_wide
        Whether the function is given float64 (complex128 of complex rows), not the type in which rows are read.

    Notes
    -----
    Cost: that of the function; what it makes is kept.
    """

    function: Callable[[Matrix], Matrix]
    dtype: np.dtype[Any]
    is_wide: bool = False

    def init(self, device: Device) -> RowsState:
        """No rows."""
        return RowsState(device)

    def update(self, state: RowsState, block: Block) -> RowsState:
        """With those of a block."""
        rows = state.device.to_host(block.data)
        if self.is_wide:
            rows = rows.astype(np.complex128 if np.iscomplexobj(rows) else np.float64)
        state.rows.append(self.function(rows).astype(self.dtype, copy=False))
        return state

    def close(self, state: RowsState) -> Pieces:
        """All of them."""
        return tuple(state.rows)

    def merge(self, left: Pieces, right: Pieces) -> Pieces:
        """One after the other."""
        return (*left, *right)


def apply_to_rows(
    function: Callable[[Matrix], Matrix],
    source: Source,
    *,
    width: int,
    dtype: np.dtype[Any],
    memory: int | str | None,
    what: str,
    work: int = 0,
    is_wide: bool = False,
) -> Matrix:
    """What a function makes of all rows of a stored matrix, in order.

    Parameters
    ----------
    function, is_wide
        As of `RowsPass`; each row independent of the others.
    source
        The matrix ``(m, n)``.
    width, dtype
        Numbers that it makes of a row, and their type here.
    memory
        Bytes, or a text such as ``"256MiB"``; half of what is free if left out.
    what
        How messages call what is made.
    work
        Numbers that the function needs for a row, beside the row itself and what it makes.

    Raises
    ------
    BudgetError
        If the memory does not hold what is made beside a block of rows; before anything is read.
    NonFiniteError, StoreError
        Of what is read.

    Notes
    -----
    Cost: one pass; memory for what is made twice, as pieces and as one array.
    """
    m, n = source.shape
    item = 16 if source.dtype.kind == "c" else 8
    height = max(1, min(m, MOST_ROWS, BLOCK_BYTES // (item * n)))
    schedule = schedule_rows(
        source,
        height,
        allowed_bytes(memory),
        work=lambda rows: item * rows * (2 * n + 3 * width + work),
        shared=2 * m * width * dtype.itemsize,
        what=what,
        remedy=", or take the rows in parts, or write them to a store with streamsvd.svd or pca, u=True and out=",
    )
    with running(schedule) as run:
        pieces = run(RowsPass(function, dtype, is_wide), what)
    return np.concatenate(pieces, axis=0)
