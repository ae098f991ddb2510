"""A stream in the hands of its user: blocks as they come, an answer when it is wanted."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any, Self

from streamsvd.engine.blas import dense_threads
from streamsvd.engine.schedule import allowed_bytes
from streamsvd.errors import SpecError, StoreError
from streamsvd.info import Info, Status
from streamsvd.numerics.columns import Columns
from streamsvd.options import from_plain
from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.streams.blocks import BlockFilter
from streamsvd.streams.mathematics import StreamState
from streamsvd.streams.options import OrderMode, TopEigenvectorsOptions
from streamsvd.streams.planning import projected_bytes
from streamsvd.streams.result import TopEigenvectorsResult, cautions, result_of
from streamsvd.streams.run import fit_to_block
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
    nonfinite
        What a NaN is: ``"raise"``, an error that names it, or ``"zero"``. Inf is always an error.

    Examples
    --------
    >>> import numpy as np, streamsvd
    >>> rng = np.random.default_rng(0)
    >>> stream = streamsvd.TopEigenvectorStream(k=1, n_rows=4000)
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
        nonfinite: str = "raise",
        width: int | None = None,
        heavy_rows: int = 64,
        delta: float = 0.05,
        seed: int = 0,
    ) -> None:
        self._options = TopEigenvectorsOptions(
            k=k, order=order, n_rows=n_rows, width=width, heavy_rows=heavy_rows, delta=delta, seed=seed
        )  # fmt: skip
        self._budget = allowed_bytes(memory)
        self._filter = BlockFilter.of(mask, nonfinite)
        self._state = None
        self._bytes, self._seconds, self._largest, self._missing = 0, 0.0, 0, 0

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
        rows, missing = self._filter.take(block)
        began = time.perf_counter()
        state = self._state
        if state is None:
            fitted = fit_to_block(self._options.stream, rows, self._budget)
            state = StreamState(fitted, rows.shape[1], self._options.n_rows)
        with self._filter.naming(), dense_threads(1):
            self._state = state.partial_fit(rows)
        self._missing += missing
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
        kept_bytes = state.state_bytes
        with dense_threads(1):
            found = state.finalize()
        info = Info(
            status=Status.DONE,
            passes=1.0,
            bytes_read=self._bytes,
            peak_bytes=0,
            projected_bytes=projected_bytes(state.options, state.d) + 3 * self._largest,
            elapsed_s=self._seconds + time.perf_counter() - began,
            n_rows=found.n_rows,
            seed=self._options.seed,
            warnings=cautions(found, state.options, state.n_rows, None),
            missing=self._missing,
        )
        result = result_of(
            found, self._options, state.options, kept_bytes=kept_bytes, shuffled=0, info=info
        )
        return self._filter.put_back(result)

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
            "options": asdict(self._options),
            "nonfinite": self._filter.nonfinite,
            "missing": self._missing,
        }
        if self._filter.columns is not None:
            arrays = arrays | {"kept_columns": self._filter.columns.marks}
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
        stream = cls(memory=run["budget"])
        stream._options = _options_of(run, state, os.fspath(place))
        stream._state = state
        columns = Columns(arrays["kept_columns"]) if "kept_columns" in arrays else None
        stream._filter = BlockFilter(columns, run.get("nonfinite", "raise"))
        stream._bytes, stream._seconds, stream._largest, stream._missing = (
            run["bytes"],
            run["seconds"],
            run["largest"],
            run.get("missing", 0),
        )
        return stream


def _options_of(run: dict[str, Any], state: StreamState, place: str) -> TopEigenvectorsOptions:
    """What was asked; of a stream that was saved before that was, what it had within its memory."""
    if "options" in run:
        options: TopEigenvectorsOptions = from_plain(TopEigenvectorsOptions, run["options"], place)
        return options
    o = state.options
    return TopEigenvectorsOptions(
        k=o.k, order=o.order, n_rows=state.n_rows, width=o.width, heavy_rows=o.heavy_rows, delta=o.delta, seed=o.seed
    )  # fmt: skip
