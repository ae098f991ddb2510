"""Where the columns of an embedding go: into memory, or into a new result that is there whole or not at all."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from streamsvd.checks.paths import place_of
from streamsvd.engine.events import Callback, ResultWritten
from streamsvd.graphs.options import EmbedOptions
from streamsvd.graphs.planning import CHUNK_ROWS
from streamsvd.graphs.result import Embedding
from streamsvd.typing import Matrix


class KeptVectors:
    """All columns, in memory."""

    def __init__(self, n: int, options: EmbedOptions) -> None:
        self.vectors = np.zeros((n, options.dim), options.dtype)

    def begin(self, columns: slice) -> Matrix:
        """Zeros, to which steps are added."""
        return self.vectors[:, columns]

    def end(self, columns: slice, total: Matrix) -> None:
        """These columns are there."""

    def finish(self, found: Embedding, callback: Callback) -> Embedding:
        """All of them are."""
        del callback
        return found

    def discard(self) -> None:
        """Nothing is left behind."""


class WrittenVectors:
    """Columns that are written as they come.

    Parameters
    ----------
    out, overwrite
        Place of the new result, and whether it may replace one.
    source
        The graph: the place is apart from it.
    options, width
        What is asked, and columns that come at once.

    Raises
    ------
    StoreError, SpecError
        If nothing may be written there.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        source: Any,
        options: EmbedOptions,
        width: int,
        *,
        overwrite: bool,
    ) -> None:
        from streamsvd.store.results.writer import ResultWriter  # these import zarr
        from streamsvd.store.writing.separation import check_apart

        place, n = place_of(out, "out"), source.shape[0]
        check_apart(place, source)
        self._writer = ResultWriter(place, overwrite=overwrite)
        self._n, self._dtype, self._source = n, options.dtype, source.name
        try:
            self.vectors = self._writer.array(
                "vectors", (n, options.dim), (min(n, CHUNK_ROWS), width), options.dtype
            )
        except BaseException:
            self.discard()
            raise

    def begin(self, columns: slice) -> Matrix:
        """Zeros, to which steps are added."""
        return np.zeros((self._n, columns.stop - columns.start), self._dtype)

    def end(self, columns: slice, total: Matrix) -> None:
        """Write these columns, a chunk at a time."""
        self._writer.fill(self.vectors, columns, total, CHUNK_ROWS)

    def finish(self, found: Embedding, callback: Callback) -> Embedding:
        """The result takes its place."""
        from streamsvd.store.results.lazy import lazy_array

        path = self._writer.commit(found, source=self._source)
        callback(ResultWritten(str(path)))
        return replace(found, vectors=lazy_array(path, "vectors"))

    def discard(self) -> None:
        """Remove what was written; what was there before is untouched."""
        self._writer.discard()
