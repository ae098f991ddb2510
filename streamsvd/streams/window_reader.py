"""Rows on their way into a stream: chunks in random order, mixed within the budget, or in the order in which they lie."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streamsvd.engine.concurrency import concurrency
from streamsvd.errors import NonFiniteError
from streamsvd.numerics import sketches as sketch
from streamsvd.protocols import Source

MAX_MIX = 16
"""Runs of rows that are mixed with one another, where the memory allows."""
PIECE_BYTES = 4 << 20
"""Rows handed on at once, about."""
FEW_CHUNKS = 256
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class WindowReader:
    """How the rows of a stored matrix are read.

    Attributes
    ----------
    source
        The matrix.
    unit
        Rows of a run that is read at once: a chunk, or a part of one that is too large.
    mix_count
        Runs whose rows are mixed with one another; 0 to take all rows in their order.
    ahead
        Whether the next runs are read while these are absorbed.
    seed
        Of the order.
    """

    source: Source
    unit: int
    mix_count: int
    ahead: bool
    seed: int

    @property
    def runs_together(self) -> int:
        """Runs that are in memory together."""
        return max(1, self.mix_count)

    @property
    def n_windows(self) -> int:
        """Windows of a pass."""
        return -(-len(self._units()) // self.runs_together)

    @property
    def bytes_needed(self) -> int:
        """Upper bound of the memory that reading takes."""
        m, n = self.source.shape
        row = n * self.source.dtype.itemsize
        held = (2 if self.ahead else 1) * self.runs_together * min(self.unit, m) * row
        readers = min(self.runs_together, self._readers())
        return held + 2 * self.piece * n * 8 + readers * self.source.read_bytes

    @property
    def piece(self) -> int:
        """Rows handed on at once."""
        row = self.source.shape[1] * self.source.dtype.itemsize
        return max(64, min(PIECE_BYTES // max(row, 1), self.unit * self.runs_together))

    @property
    def pass_bytes(self) -> int:
        """Decoded bytes that a pass asks of the store: whole chunks, also where a part is wanted."""
        chunk = min(self.source.chunks[0], self.source.shape[0])
        parts = -(-chunk // self.unit) if self.unit < chunk else 1
        return self.source.nbytes * parts

    def bytes_from(self, begin: int) -> int:
        """Those that the windows from ``begin`` on ask for."""
        rows = sum(b - a for group in self._groups()[begin:] for a, b in group)
        return self.pass_bytes * rows // self.source.shape[0]

    def raise_nonfinite(self, window: int) -> None:
        """Raise for the first entry of a window that is NaN or Inf, naming where it lies in the matrix.

        Raises
        ------
        NonFiniteError
            If there is one.
        """
        n = self.source.shape[1]
        for a, b in sorted(self._groups()[window]):
            rows = np.empty((b - a, n), dtype=self.source.dtype)
            self.source.read(slice(a, b), slice(0, n), rows)
            bad = ~np.isfinite(rows)
            if bad.any():
                i, j = np.unravel_index(int(np.argmax(bad)), bad.shape)
                value = "NaN" if np.isnan(rows[i, j]) else "Inf"
                row, column = a + int(i), int(j)
                chunk = self.source.locate(row, column)
                raise NonFiniteError(
                    value, row, column, chunk, "Mend or leave out the row."
                ) from None

    def _groups(self) -> list[list[tuple[int, int]]]:
        """Runs of each window."""
        units = self._units()
        if self.mix_count:
            order = sketch.generator(self.seed, "sample", index=2).permutation(len(units))
            units = [units[i] for i in order]
        return [units[a : a + self.runs_together] for a in range(0, len(units), self.runs_together)]

    def _units(self) -> list[tuple[int, int]]:
        m, chunk = self.source.shape[0], min(self.source.chunks[0], self.source.shape[0])
        if self.unit >= chunk:
            return [(a, min(a + self.unit, m)) for a in range(0, m, self.unit)]
        return [
            (b, min(b + self.unit, a + chunk, m))
            for a in range(0, m, chunk)
            for b in range(a, min(a + chunk, m), self.unit)
        ]

    @staticmethod
    def _readers() -> int:
        return concurrency()[1]

    def windows(self, begin: int = 0) -> Iterator[tuple[int, Iterator[Array]]]:
        """Number of each window from ``begin`` on, and its rows in pieces, mixed where asked."""
        groups = self._groups()
        with ThreadPoolExecutor(self._readers()) as readers, ThreadPoolExecutor(1) as next_one:
            waiting = None
            for index in range(begin, len(groups)):
                rows = self._read(groups[index], readers) if waiting is None else waiting.result()
                waiting = None
                if self.ahead and index + 1 < len(groups):
                    waiting = next_one.submit(self._read, groups[index + 1], readers)
                yield index, self._pieces(rows, index)
                del rows

    def _read(self, units: list[tuple[int, int]], readers: ThreadPoolExecutor) -> Array:
        n = self.source.shape[1]
        out = np.empty((sum(b - a for a, b in units), n), dtype=self.source.dtype)
        ends = np.cumsum([b - a for a, b in units])

        def one(i: int) -> None:
            a, b = units[i]
            self.source.read(slice(a, b), slice(0, n), out[ends[i] - (b - a) : ends[i]])

        list(readers.map(one, range(len(units))))
        return out

    def _pieces(self, rows: Array, index: int) -> Iterator[Array]:
        if not self.mix_count:
            for a in range(0, rows.shape[0], self.piece):
                yield rows[a : a + self.piece]
            return
        order = sketch.generator(self.seed, "sample", index=3 + index).permutation(rows.shape[0])
        for a in range(0, rows.shape[0], self.piece):
            yield rows[order[a : a + self.piece]]
