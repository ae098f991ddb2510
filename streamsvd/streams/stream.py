"""A stream in the hands of its user: blocks as they come, an answer when it is wanted."""

from __future__ import annotations

import os
import time
from typing import Any, Self

from streamsvd.checks.numbers import check_integer
from streamsvd.engine.blas import dense_threads
from streamsvd.engine.memory import default_budget, parse_bytes
from streamsvd.errors import SpecError, StoreError
from streamsvd.numerics.columns import Columns
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.streams.columns import columns_of_blocks, keep_columns, restore_columns
from streamsvd.streams.mathematics import StreamOptions, StreamState
from streamsvd.streams.mathematics.options import OrderMode
from streamsvd.streams.planning import check_k, fit_beside_reading, projected_bytes
from streamsvd.streams.result import TopEigenvectorsResult, cautions, result_of
from streamsvd.streams.run import as_rows
from streamsvd.streams.saved_state import pack_state, restore_state

PURPOSE = "TopEigenvectors"


class TopEigenvectorStream:
    """Leading eigenvectors of ``A* A`` for rows that come in blocks, each once.

    Parameters
    ----------
    k, order, memory, n_rows, width, heavy_rows, delta, seed
        As of `streamsvd.top_eigenvectors`.
    mask
        Columns to keep: booleans, one for each column of the blocks. The others are not looked at, and NaN in the components.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> stream = streamsvd.TopEigenvectors(k=1, n_rows=4000)
    >>> for _ in range(40):
    ...     block = rng.standard_normal((100, 12))
    ...     block[:, 5] *= 4
    ...     stream = stream.partial_fit(block)
    >>> int(np.argmax(stream.finalize().components[0]))
    5
    """

    def __init__(
        self,
        k: int = 1,
        *,
        order: OrderMode = "auto",
        memory: int | float | str | None = None,
        n_rows: int | None = None,
        mask: Any = None,
        width: int | None = None,
        heavy_rows: int = 64,
        delta: float = 0.05,
        seed: int = 0,
    ) -> None:
        self._options = StreamOptions(
            k=k, order=order, width=width, heavy_rows=heavy_rows, delta=delta, seed=seed
        )
        self._budget = default_budget() if memory is None else parse_bytes(memory)
        self._n_rows = None if n_rows is None else check_integer("n_rows", n_rows)
        self._columns = None if mask is None else columns_of_blocks(mask)
        self._state = None
        self._bytes, self._seconds, self._largest = 0, 0.0, 0

    _state: StreamState | None

    @property
    def n_rows_seen(self) -> int:
        """Rows absorbed so far: the position in the stream."""
        return 0 if self._state is None else self._state.n_absorbed

    def partial_fit(self, block: Any) -> Self:
        """Absorb a block of rows ``(r, n)``, or one row ``(n,)``; it is not changed.

        Raises
        ------
        BudgetError
            At the first block, if the memory does not hold the least state beside it.
        ShapeError, SpecError, NonFiniteError
            As `streamsvd.top_eigenvectors`; the state is what it was.
        """
        rows = as_rows(block)
        if self._columns is not None:
            rows = keep_columns(rows, self._columns)
        began = time.perf_counter()
        if self._state is None:
            check_k(self._options, rows.shape[1])
            chosen = fit_beside_reading(
                self._options, rows.shape[1], self._budget, 3 * rows.nbytes, "one block"
            )
            made = StreamState(chosen, rows.shape[1], self._n_rows)
        else:
            made = self._state
        with dense_threads(1):
            self._state = made.partial_fit(rows)
        self._bytes += rows.nbytes
        self._largest = max(self._largest, rows.nbytes)
        self._seconds += time.perf_counter() - began
        return self

    def finalize(self) -> TopEigenvectorsResult:
        """The answer for the rows so far; further rows are refused.

        Raises
        ------
        SpecError
            If no row has come.
        """
        state = self._state
        if state is None:
            raise SpecError(
                "no block has come: there is nothing to find. Pass at least one block of rows."
            )
        began = time.perf_counter()
        held = state.state_bytes
        with dense_threads(1):
            found = state.finalize()
        result = result_of(
            found,
            state.options,
            passes=1,
            bytes_read=self._bytes,
            held=held,
            peak=0,
            projected=projected_bytes(state.options, state.d) + 3 * self._largest,
            elapsed=self._seconds + time.perf_counter() - began,
            shuffled=0,
            warnings=cautions(found, state.options, state.n_rows, None),
        )
        return result if self._columns is None else restore_columns(result, self._columns)

    def save(self, place: str | os.PathLike[str]) -> None:
        """Save the state, its position in the stream included; when it returns, it survives a power cut.

        Raises
        ------
        SpecError
            If no row has come.
        StoreError, ConflictError
            If it cannot be written, or there is something else.
        """
        if self._state is None:
            raise SpecError("no block has come: there is nothing to save.")
        store = Checkpoint.from_address(place, PURPOSE)
        store.newest()
        plain, arrays = pack_state(self._state)
        run = {
            "budget": self._budget,
            "bytes": self._bytes,
            "seconds": self._seconds,
            "largest": self._largest,
        }
        if self._columns is not None:
            arrays = arrays | {"kept_columns": self._columns.marks}
        store.save({"state": plain, "face": run}, arrays)

    @classmethod
    def load(cls, place: str | os.PathLike[str]) -> TopEigenvectorStream:
        """The stream that `save` saved, to the bit; ``n_rows_seen`` says where to go on.

        Raises
        ------
        StoreError
            If there is none, or what was saved is damaged.
        """
        found = Checkpoint.from_address(place, PURPOSE).newest()
        if found is None or "face" not in found[0]:
            raise StoreError(
                f"{os.fspath(place)} holds no stream that was saved. Pass a place given to save()."
            )
        plain, arrays = found
        run = plain["face"]
        state = restore_state(plain["state"], arrays)
        stream = cls(state.options.k, memory=run["budget"], n_rows=state.n_rows)
        stream._options, stream._state = state.options, state
        if "kept_columns" in arrays:
            stream._columns = Columns(arrays["kept_columns"])
        stream._bytes, stream._seconds, stream._largest = (
            run["bytes"],
            run["seconds"],
            run["largest"],
        )
        return stream
